/*
 * A new key on both ends of a tunnel: what the client does of it (tasks/engine/pairs.go,
 * and fit in roles/peers.go). The apply of one host is here what apply.pml says of it: it
 * is kept or put back, at any moment, and its client hears of it or does not.
 *
 *   spin -a pair.pml && gcc -DSAFETY -o pan pan.c && ./pan
 *
 * Three runs of the client, one after the other, each killed anywhere or not; what the
 * inventory wants is another key in each, or the same.
 */

#ifndef FAULTS
#define FAULTS 3		/* how many things go wrong at most */
#endif
#define RUNS 3
#define HUB 0
#define SITE 1

/* The model broken on purpose, spin -DBROKEN=WHAT: it must find each of them. The first
   was never what the code does; the others it did once. */
#define SITE_CONFIRMED_FIRST 1
#define SITE_FORGETS_EARLY 2
#define BACK_TO_ONE_KEY 3
#define STILL_TOLD_AS_IT_ENDED 4
#define HUB_SENDS_ANOTHER 5
#ifndef BROKEN
#define BROKEN 0
#endif
byte broken = BROKEN;

/* An end of a tunnel: the keys that it takes, a bit each, and the one that it sends. */
#define OLD 1
#define NEW 2
#define NEWER 4
#define END(takes, sends) ((takes) | (sends) << 3)
#define ONE(key) END(key, key)
#define TAKES(end) ((end) & 7)
#define SENDS(end) ((end) >> 3)
#define FIT(a, b) ((TAKES(a) & SENDS(b)) != 0 && (TAKES(b) & SENDS(a)) != 0)

mtype = { none, changed, rolled_back, failed, skipped, torn, unknown, still };

byte stands[2] = ONE(OLD);	/* what an end is */
byte was[2] = ONE(OLD);		/* what it goes back to while it is armed */
byte began[2];			/* what it was when this run began */
bool armed[2];
mtype told[2] = none;
byte faults = FAULTS;
bool ends_fit = true, told_true = true;
#define FAULT (faults > 0)

inline becomes(h, end) {
	stands[h] = end;
	ends_fit = FIT(stands[HUB], stands[SITE]);
	assert(ends_fit)
}

/* a host that is armed, and nobody is there to confirm it: the revert */
proctype Revert(byte h) {
end:	atomic { armed[h] -> armed[h] = false; becomes(h, was[h]) };
	goto end
}

/* transact: one attempt, with what comes of it in res. It may be put back at any moment
   while it is armed: then its client is told so, or hears nothing. */
inline transact(h, end) {
	res = none;		/* Result OK: there is nothing to do */
	if
	:: stands[h] == end
	:: else ->
		if
		:: FAULT -> faults--; res = failed	/* not begun, locked by another run, or failed before it was armed */
		:: FAULT -> faults--; goto killed
		:: true ->
			atomic { was[h] = stands[h]; armed[h] = true; becomes(h, end) };
			if
			:: FAULT -> faults--; goto killed
			:: FAULT -> faults--; res = unknown	/* it is given up */
			:: atomic { FAULT -> faults--; armed[h] = false; becomes(h, was[h]); res = rolled_back }
			:: atomic { armed[h] -> armed[h] = false; res = changed }
			:: atomic { armed[h] && FAULT -> faults--; armed[h] = false; res = unknown }	/* confirmed, and nobody hears of it */
			:: atomic { armed[h] && FAULT -> faults--; armed[h] = false; goto killed }
			:: !armed[h] -> res = rolled_back
			fi
		fi
	fi
}
#define good (res == none || res == changed)

/* What roles.fit makes of the end e where the key w is wanted. The hub goes on sending
   what it sends, which the site takes. */
#define others (TAKES(e) & ~w)
#define another (others & NEWER -> NEWER : (others & NEW -> NEW : OLD))
#define sends (broken == HUB_SENDS_ANOTHER && others != 0 && SENDS(e) == w -> another : SENDS(e))
#define either_hub END(TAKES(e) | w, sends)
#define either_site END(TAKES(e) | w, w)
#define old_hub ONE(SENDS(e))

proctype Client() {
	byte turn, w, e, target;
	mtype res;
	bool has_new, has_either, first_is_nothing;

next:	turn++;
	if
	:: turn > RUNS -> goto out
	:: else
	fi;
	if :: w = OLD :: w = NEW :: w = NEWER fi;
	/* Plan: a host that waits to be confirmed or put back is locked, and its other end
	   is left alone with it */
	atomic { !armed[HUB] && !armed[SITE]; began[HUB] = stands[HUB]; began[SITE] = stands[SITE] };
	if
	:: stands[HUB] != ONE(w) && stands[SITE] != ONE(w)
	:: stands[HUB] == ONE(w) && stands[SITE] != ONE(w) -> transact(SITE, ONE(w)); told[SITE] = res; goto ran
	:: stands[HUB] != ONE(w) && stands[SITE] == ONE(w) -> transact(HUB, ONE(w)); told[HUB] = res; goto ran
	:: stands[HUB] == ONE(w) && stands[SITE] == ONE(w) -> goto ran
	fi;

	/* widen */
	if
	:: broken == SITE_CONFIRMED_FIRST
	:: else ->
		e = stands[HUB]; target = either_hub;
		transact(HUB, target);
		told[HUB] = res;
		if
		:: !good -> told[SITE] = skipped; goto ran
		:: else
		fi
	fi;
	/* sites. What a site is to have while the hub takes either may be what it has: its
	   change is to forget a key, and has its time at the end. */
	e = stands[SITE]; target = either_site;
	first_is_nothing = (target == e && broken != SITE_FORGETS_EARLY);
	if
	:: broken == SITE_FORGETS_EARLY && target == e -> target = ONE(w)
	:: else
	fi;
	if
	:: FAULT -> faults--; res = skipped	/* Ctrl-C, or another site came first and failed */
	:: true -> transact(SITE, target)
	fi;
	told[SITE] = (res == none -> changed : res);
	/* has */
	has_new = (res == changed || first_is_nothing);
	has_either = (res == unknown);
	/* another run was at work there: Locked */
	if
	:: res == failed -> has_either = true
	:: true
	fi;

	/* narrow */
	e = stands[HUB];
	if
	:: FAULT -> faults--; told[HUB] = still; goto ran	/* it is not reached */
	:: has_new -> target = ONE(w)
	:: !has_new && has_either -> target = either_hub
	:: !has_new && !has_either ->
		/* where it began with more than one key, the site may send any of them */
		target = (began[HUB] == ONE(SENDS(began[HUB])) || broken == BACK_TO_ONE_KEY -> old_hub : either_hub)
	fi;
	transact(HUB, target);
	if
	:: good && !has_new && target == began[HUB] -> told[HUB] = rolled_back
	:: good && !(!has_new && target == began[HUB]) -> told[HUB] = changed
	:: !good && (res == unknown || broken == STILL_TOLD_AS_IT_ENDED) -> told[HUB] = res
	:: !good && !(res == unknown || broken == STILL_TOLD_AS_IT_ENDED) -> told[HUB] = still
	fi;
	if
	:: good && has_new && stands[SITE] != ONE(w) ->
		/* forget */
		transact(SITE, ONE(w));
		if
		:: good -> told[SITE] = changed
		:: !good && (res == unknown || broken == STILL_TOLD_AS_IT_ENDED) -> told[SITE] = res
		:: !good && !(res == unknown || broken == STILL_TOLD_AS_IT_ENDED) -> told[SITE] = still
		fi
	:: else
	fi;
	goto ran;

killed:	told[HUB] = none; told[SITE] = none;

	/* at rest */
ran:	timeout;
	atomic {
		told_true = ((told[HUB] != rolled_back && told[HUB] != failed || stands[HUB] == began[HUB]) &&
			(told[SITE] != rolled_back && told[SITE] != failed && told[SITE] != skipped || stands[SITE] == began[SITE]) &&
			(told[SITE] != changed || (TAKES(stands[SITE]) & w) != 0 && SENDS(stands[SITE]) == w));
		assert(told_true);
		told[HUB] = none; told[SITE] = none; res = none; e = 0; target = 0; has_new = false; has_either = false; first_is_nothing = false
	};
	goto next;
out:	skip
}

init {
	atomic {
		stands[HUB] = ONE(OLD); stands[SITE] = ONE(OLD);
#ifdef EACH
		c_code { if (getenv("BROKEN")) now.broken = atoi(getenv("BROKEN")); };
#endif
		do :: faults > 0 -> faults-- :: break od;
		run Revert(HUB); run Revert(SITE); run Client()
	}
}
