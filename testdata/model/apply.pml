/*
 * An apply of one host: what the host does of it (tasks/host/txn.sh, launch.go), what the
 * client does (tasks/engine/attempt.go, listen.go), and all that may go wrong in between.
 * docs/safety.md says what is covered and what is left out. The steps have the names of
 * the script's functions, and a test drives the real script through traces of this.
 *
 *   spin -a apply.pml && gcc -DSAFETY -DVECTORSZ=2048 -o pan pan.c && ./pan
 *
 * A timer has no time here: it fires at any moment once it is armed. So nothing hangs
 * on a clock, and "after the deadline plus T" is: when nothing is left to be done.
 */

#ifndef FAULTS
#define FAULTS 2		/* how many things go wrong at most */
#endif

/*
 * The model broken on purpose, spin -DBROKEN=WHAT: it must find each of them. The first
 * three were never what the code does; the others it did once.
 */
#define NO_BOOT_GUARD 1
#define CONFIRM_WITHOUT_LOCK 2
#define DISARM_BEFORE_RENAME 3
#define GUARD_SYNCED_LATE 4
#define CONFIRM_UNSYNCED 5
#define RENAME_UNSEEN 6
#define PENDING_BEFORE_TIMER 7
#define UNDO_NOT_STARTED_AGAIN 8
#define CONFIRM_OF_HALF_A_REVERT 9
#define OUTCOME_UNSYNCED 10
#define LEFT_ONCE_CONFIRMED 11
#define HISTORY_UNSYNCED 12
#ifndef BROKEN
#define BROKEN 0
#endif
byte broken = BROKEN;

/* What a host has: as before, as planned, or some files of each. */
#define BEFORE 1
#define PLANNED 2
#define TORN 3

/* tasks/host/words.go: statuses, outcomes; what a shell says that was asked to confirm */
mtype = { none, applied, failed, reverted, revert_failed, locked, stale, never_started, died,
	pending_, confirmed_, untouched, unknown,
	changed, rolled_back, before, torn };

/* the steps, for the trace */
mtype = { start, late, systemd_run,
	main_run, do_lock, refuse_locked, lock_late, preconditions, want_packages, try,
	backup_all, reserve, install_boot_guard, do_sync, arm_guard, do_pending,
	enter_write, write, live, services, verify, arm_confirm, disarm_guard, finish,
	tidy, finish_failed, finish_reverted, finish_revert_failed,
	put_back, undo_files, undo_live, end_reverted, end_revert_failed, record, scraps, disarm_confirm,
	mv };

/* --- a host ------------------------------------------------------------------- */

byte files = BEFORE;		/* what its files say */
byte runs = BEFORE;		/* what is loaded */
byte was = BEFORE;		/* txn/ID/backup */
byte pending;			/* the ID in it; 0: it is not there */
byte script;			/* the ID whose apply.sh is there */
byte armed;			/* the ID whose armed is there */
byte events;			/* the ID whose events are there */
byte claimed;			/* /run/vpnpush/start-ID, a bit each */
byte guard_timer;		/* the ID that the timer of this name would undo */
byte confirm_timer;		/* and this one */
byte unit;			/* the ID that vpnpush-apply-ID.service runs */
byte holder;			/* who holds it */
mtype result = none;
mtype outcome = none;
bool kept;			/* txn/ID/confirmed */
bool line;			/* the history tells of it */
bool note;			/* revert-failed */
bool reverting;			/* txn/ID/reverting */
bool same_boot;
bool boot_guard;		/* vpnpush-revert.service is enabled */
bool up = true;
bool going_down;
bool lockout;			/* what is planned lets nobody in */

/* What a power cut may take back, since it was not synced: */
bool cached_guard;		/* that the boot guard is enabled */
bool cached_files;		/* files that were deleted */
byte cached_pending;		/* that pending went */
bool cached_line;		/* the line of the history */

/* Processes of a host, as holders of the lock and as what a power cut ends. */
#define RUN 1
#define UNDO 2			/* of a timer, and of the boot */
#define SHELL 3			/* a command of the client */
#define LAUNCH 4
#define FOLLOW 5		/* what follows a run; it holds nothing */
bool busy[5];
bool kill[5];
bool term;			/* SIGTERM for the run */

byte starts;			/* the ID that is to be launched */
byte again;			/* the ID whose undo was killed, which systemd starts again */
byte boots;			/* the ID that the boot guard has found */
byte asks;			/* what the client asks a shell: CONFIRM, REVERT */
mtype answer = none;
#define CONFIRM 1
#define REVERT 2
byte about;			/* the ID that it is about */

byte faults = FAULTS;

/* --- what must hold ----------------------------------------------------------- */

bool reachable = true, before_or_planned = true, over = true, told_true = true, nothing_left = true;
mtype told = none;

/* --- simulation: a fault comes once LUCK steps are made ------------------------- */

#ifdef LUCK
byte luck = LUCK;
#define FAULT (faults > 0 && luck == 0)
#define STEPPED luck = (luck > 0 -> luck - 1 : 0)
#else
#define FAULT (faults > 0)
#define STEPPED skip
#endif

/* say: a line of the trace, for who drives the real script through it */
#define say(who, what) printf("@ %d %e\n", who, what); STEPPED
/* step: a command of the run, which may fail */
#define step(what, effect) atomic { if :: say(RUN, what); effect :: FAULT -> faults--; printf("@ %d %e fails\n", RUN, what); leaving = true; goto on_exit fi }

/* --- txn.sh --------------------------------------------------------------------- */

#define mine (pending == id)
#define stop_guard guard_timer = (guard_timer == id -> 0 : guard_timer)
#define stop_confirm confirm_timer = (confirm_timer == id -> 0 : confirm_timer)
#define no_script script = (script == id -> 0 : script)
#define no_claim claimed = claimed & ~(1 << id)

/* revert: put_back, then the last word. A command of put_back that fails makes rc 1. */
inline revert(who) {
	atomic {
		reverting = true; files = TORN;
		if
		:: rc = false; say(who, put_back)
		:: FAULT -> faults--; rc = true; printf("@ %d put_back fails\n", who)
		fi
	};
	atomic {
		if
		:: !rc -> say(who, undo_files); files = was; cached_files = false; cached_guard = false
		:: else
		fi
	};
	atomic {
		if
		:: same_boot -> say(who, undo_live); runs = was
		:: same_boot && FAULT -> faults--; rc = true; printf("@ %d undo_live fails\n", who)
		:: !same_boot
		fi
	};
	atomic {
		if
		:: rc && going_down -> goto ended		/* the boot puts the rest back */
		:: !rc -> say(who, end_reverted); outcome = reverted
		:: rc && !going_down -> say(who, end_revert_failed); outcome = revert_failed; note = true
		fi;
		pending = 0; cached_pending = id
	};
	atomic { say(who, record); cached_pending = 0; cached_files = false };
	atomic { say(who, scraps); no_script };
	atomic { say(who, disarm_guard); stop_guard; say(who, disarm_confirm); stop_confirm; no_claim }
}

/* kept: what is left to do of what was confirmed. Whatever it is cut in, the timers are up
   for, and the boot, since the script goes last. */
inline keep(who) {
	atomic { say(who, do_sync); cached_pending = 0 };
	atomic { if :: !line -> say(who, record); line = true; cached_line = (broken == HISTORY_UNSYNCED) :: line fi };
	atomic { say(who, scraps); no_script; note = false };
	atomic { say(who, disarm_confirm); stop_confirm };
	atomic { say(who, disarm_guard); stop_guard; no_claim }
}

/* main_undo of what does not wait any more */
inline undo_other(who) {
	if
	:: kept && broken != LEFT_ONCE_CONFIRMED -> keep(who)
	:: atomic { !kept && armed != id -> say(who, tidy); say(who, scraps); no_script; no_claim; say(who, disarm_guard); stop_guard }
	:: atomic { !kept && armed == id || broken == LEFT_ONCE_CONFIRMED -> say(who, scraps); no_script }
	fi
}

proctype Run() {
	byte id;
	byte stage;		/* 0 before arm, 1 arm, 2 after it */
	bool rc, deaf, leaving;
end:	atomic { unit != 0 -> id = unit; stage = 0; deaf = false; busy[RUN] = true };
	{
		atomic {
			/* sh has opened apply.sh, or it is gone */
			if
			:: script != id -> goto ended
			:: else
			fi;
			say(RUN, main_run); events = id;
			if
			:: holder == 0 -> say(RUN, do_lock); holder = RUN
			:: holder != 0 -> say(RUN, refuse_locked); result = locked; no_script; no_claim; goto ended
			:: FAULT -> faults--; printf("@ %d do_lock fails\n", RUN); result = locked; no_script; no_claim; goto ended	/* another run has it */
			fi;
			if
			:: pending != 0 -> say(RUN, refuse_locked); result = locked; no_script; no_claim; goto ended
			:: else
			fi;
			if
			:: say(RUN, preconditions)
			:: FAULT -> faults--; printf("@ %d preconditions fails\n", RUN); result = stale; no_script; no_claim; goto ended
			fi;
			step(want_packages, skip);
			step(try, skip);
			stage = 1
		};
		step(backup_all, was = files; same_boot = true);
		step(reserve, skip);
		step(install_boot_guard, cached_guard = !boot_guard; boot_guard = (broken != NO_BOOT_GUARD));
		step(do_sync, cached_files = false; cached_guard = (broken == GUARD_SYNCED_LATE && cached_guard));
		/* sh -n: apply.sh is there; who gave this run up has taken it away */
		atomic {
			if
			:: script != id -> leaving = true; goto on_exit
			:: script == id && broken == PENDING_BEFORE_TIMER -> pending = id; armed = id
			:: else
			fi
		};
		step(arm_guard, guard_timer = id);
		step(do_pending, pending = id; armed = id);
		atomic { say(RUN, enter_write); stage = 2 };
		step(write, files = TORN);
		step(live, files = PLANNED; cached_files = true);
		step(services, runs = PLANNED);
		step(verify, skip);
		step(do_sync, cached_files = (broken == CONFIRM_UNSYNCED));
		step(arm_confirm, confirm_timer = id);
		atomic { say(RUN, disarm_guard); stop_guard };
		step(finish, result = applied);
		goto ended;
on_exit:	if
		:: stage < 2 ->
			atomic { say(RUN, disarm_guard); pending = (mine -> 0 : pending); stop_guard };
			atomic { say(RUN, tidy); say(RUN, scraps); no_script; no_claim };
			atomic { say(RUN, finish_failed); result = failed }
		:: else ->
			deaf = true;
			revert(RUN);
			atomic { if :: rc -> say(RUN, finish_revert_failed); result = revert_failed :: else -> say(RUN, finish_reverted); result = reverted fi }
		fi;
ended:		skip
	} unless {
		if
		:: kill[RUN]
		:: atomic { term && !deaf && !kill[RUN] -> term = false; printf("@ 1 term\n");
			/* on_exit has no trap of its own until it reverts */
			if :: leaving -> goto ended :: else -> leaving = true; goto on_exit fi }
		fi
	};
	d_step {
		if :: holder == RUN -> holder = 0 :: else fi;
		kill[RUN] = false; busy[RUN] = false; unit = 0; term = false;
		id = 0; stage = 0; rc = false; deaf = false; leaving = false
	};
	goto end
}

/* main_undo of a timer, which a revert at boot is, too */
proctype Undo() {
	byte id;
	bool rc, open;		/* sh has opened apply.sh */
end:	atomic {
		if
		:: up && guard_timer != 0 -> id = guard_timer; guard_timer = 0; printf("@ timer guard\n")
		:: up && confirm_timer != 0 -> id = confirm_timer; confirm_timer = 0; printf("@ timer confirm\n")
		:: up && again != 0 -> id = again; again = 0; printf("@ undo again\n")
		:: boots != 0 -> id = boots; printf("@ boot undo\n")
		fi;
		busy[UNDO] = true;
		if
		:: script != id -> open = false
		:: script == id && holder == 0 -> open = true; say(UNDO, do_lock); holder = UNDO
		:: script == id && holder != 0 ->
			open = true;
			/* it is not to be had for 5 s: systemctl stop vpnpush-apply-ID */
			printf("@ %d lock late\n", UNDO);
			if :: unit == id -> term = true :: else fi
		fi
	};
	{
		if
		:: atomic { !open -> goto ended }
		:: atomic { open && holder == 0 -> say(UNDO, do_lock); holder = UNDO; goto locked_ }
		:: atomic { holder == UNDO ->
locked_:		if
			:: !mine -> goto other
			:: else
			fi }
		fi;
		revert(UNDO);
		goto ended;
other:		undo_other(UNDO);
ended:		skip
	} unless { kill[UNDO] };
	d_step {
		if :: holder == UNDO -> holder = 0 :: else fi;
		/* Restart=on-abnormal */
		if
		:: kill[UNDO] && up && broken != UNDO_NOT_STARTED_AGAIN -> again = id
		:: else
		fi;
		kill[UNDO] = false; busy[UNDO] = false; boots = 0; id = 0; rc = false; open = false
	};
	goto end
}

/* what the client has a shell do: main_confirm, main_undo */
proctype Shell() {
	byte id;
	bool rc, asked;
end:	atomic { up && asks != 0 -> id = about; asked = (asks == CONFIRM); asks = 0; busy[SHELL] = true; if :: asked -> printf("@ shell confirm\n") :: else -> printf("@ shell revert\n") fi };
	{
		if
		:: script != id -> answer = failed; goto ended
		:: script == id && asked ->
			if
			:: broken == CONFIRM_WITHOUT_LOCK
			:: atomic { broken != CONFIRM_WITHOUT_LOCK && holder == 0 -> say(SHELL, do_lock); holder = SHELL }
			:: atomic { broken != CONFIRM_WITHOUT_LOCK && (holder != 0 || FAULT) ->
				if :: holder == 0 -> faults-- :: else fi;
				say(SHELL, lock_late); answer = failed; goto ended }
			fi;
			if
			:: kept -> goto rest
			:: else
			fi;
			atomic {
				if
				:: !mine || reverting && broken != CONFIRM_OF_HALF_A_REVERT -> answer = failed; goto ended
				:: else
				fi;
				if
				:: broken == DISARM_BEFORE_RENAME -> stop_confirm; stop_guard
				:: else
				fi
			};
			/* the one step that counts */
			if
			:: atomic { true -> say(SHELL, mv); pending = 0; cached_pending = id; kept = true }
			:: atomic { FAULT -> faults--; printf("@ %d mv fails\n", SHELL);
				if :: broken != RENAME_UNSEEN -> answer = failed; goto ended :: else fi }
			fi;
rest:			keep(SHELL);
			answer = confirmed_
		:: script == id && !asked ->
			atomic {
				holder == 0 -> say(SHELL, do_lock); holder = SHELL;
				if
				:: !mine -> answer = untouched; goto other
				:: else
				fi
			};
			revert(SHELL);
			answer = reverted;
			goto ended;
other:			undo_other(SHELL)
		fi;
ended:		skip
	} unless { kill[SHELL] };
	d_step {
		if :: holder == SHELL -> holder = 0 :: else fi;
		if :: kill[SHELL] || answer == none -> answer = died :: else fi;
		kill[SHELL] = false; busy[SHELL] = false; id = 0; rc = false; asked = false
	};
	goto end
}

/* Txn.Launch */
proctype Launch() {
	byte id;
end:	atomic { up && starts != 0 -> id = starts; busy[LAUNCH] = true };
	{
		if
		:: atomic { (claimed & (1 << id)) == 0 -> say(LAUNCH, start); script = id; claimed = claimed | (1 << id) }
		:: atomic { (claimed & (1 << id)) != 0 -> say(LAUNCH, late); goto ended }
		fi;
		if
		:: atomic { true -> say(LAUNCH, systemd_run); unit = id }
		:: atomic { FAULT -> faults--; printf("@ %d systemd_run fails\n", LAUNCH); no_script; result = failed }
		fi;
ended:		skip
	} unless { kill[LAUNCH] };
	d_step { kill[LAUNCH] = false; busy[LAUNCH] = false; starts = 0; id = 0 };
	goto end
}

/* a host at which nothing is at stake may as well keep its power */
#define at_work (busy[RUN] || busy[UNDO] || busy[SHELL] || busy[LAUNCH] || pending != 0 || cached_files || cached_pending != 0 || cached_line || (kept || outcome != none) && script != 0)

/* power cuts, reboots, and kill -9 of anything */
proctype Power() {
	byte who;
end:	do
	:: atomic { FAULT && up && busy[RUN] && !kill[RUN] -> faults--; printf("@ kill run\n"); kill[RUN] = true }
	:: atomic { FAULT && up && busy[UNDO] && !kill[UNDO] -> faults--; printf("@ kill undo\n"); kill[UNDO] = true }
	:: atomic { FAULT && up && busy[SHELL] && !kill[SHELL] -> faults--; printf("@ kill shell\n"); kill[SHELL] = true }
	:: atomic { FAULT && up && busy[LAUNCH] && !kill[LAUNCH] -> faults--; printf("@ kill launch\n"); kill[LAUNCH] = true }
	:: atomic { FAULT && up && !going_down && busy[RUN] -> faults--; printf("@ reboot\n"); going_down = true; term = true };
		!busy[RUN] -> goto cut
	:: atomic { FAULT && up && at_work -> faults--; goto cut }
	od;
cut:	atomic {
		printf("@ cut\n");
		up = false;
		who = RUN;
		do
		:: who <= LAUNCH -> kill[who] = busy[who]; who++
		:: else -> break
		od
	};
	atomic {
		!busy[RUN] && !busy[UNDO] && !busy[SHELL] && !busy[LAUNCH] ->
		guard_timer = 0; confirm_timer = 0; claimed = 0; holder = 0; going_down = false; same_boot = false;
		starts = 0; unit = 0; again = 0;
		if :: asks != 0 -> asks = 0; answer = died :: else fi;
		/* what was not synced is lost, or is not */
		if
		:: cached_guard -> boot_guard = false; printf("@ lost boot_guard\n")
		:: true
		fi;
		if
		:: cached_files -> files = TORN; printf("@ lost files\n")
		:: true
		fi;
		if
		:: cached_pending != 0 -> pending = cached_pending; script = cached_pending; kept = false; printf("@ lost pending\n")
		:: true
		fi;
		if
		:: cached_line -> line = false; printf("@ lost line\n")
		:: true
		fi;
		cached_guard = false; cached_files = false; cached_pending = 0; cached_line = false; who = 0;
		/* its condition is a script that is left */
		if
		:: script != 0 && boot_guard -> boots = script
		:: else
		fi;
		printf("@ boot\n")
	};
	if
	:: boots == 0
	:: atomic { boots != 0 && FAULT -> faults--; goto cut }
	fi;
	atomic { runs = files; up = true };
	goto end
}

/* --- attempt.go ------------------------------------------------------------------- */

#define lets_in (up && !(lockout && runs == PLANNED))

/* Txn.Outcome */
inline ask() {
	cached_pending = (kept && broken != OUTCOME_UNSYNCED -> 0 : cached_pending);
	word = (outcome != none -> outcome : (kept -> confirmed_ : (pending == id -> pending_ : (armed == id -> unknown : untouched))))
}

/* nothing is left to be done */
inline at_rest() {
	d_step {
		reachable = (up && (!lockout || note || runs != PLANNED));
		assert(reachable);
		before_or_planned = (note || files == runs && (files == BEFORE || files == PLANNED && kept));
		assert(before_or_planned);
		/* no later apply finds that this one waits there, for ever */
		over = (pending == 0 && guard_timer == 0 && confirm_timer == 0 && holder == 0);
		assert(over);
		told_true = (note || told == none || told == unknown || files == (told == changed -> PLANNED : BEFORE));
		assert(told_true);
		/* no key, and no word less: of one that was confirmed, and of one that was put back */
		nothing_left = ((!kept && outcome == none || script == 0) && kept == line ||
			broken == DISARM_BEFORE_RENAME);	/* it leaves something, too, and worse is to be found */
		assert(nothing_left)
	}
}

/* Killed, it does no more. It is enough to try that where it has a part in anything:
   before and after each thing that it sends. */
#define dies atomic { FAULT -> faults--; STEPPED; goto killed }

proctype Client() {
	byte id;
	mtype res = none, word = none;

	if
	:: atomic { FAULT -> faults--; STEPPED; res = before; goto finished }		/* no connection */
	:: true
	fi;
	id = 1;
	starts = id;
	/* launch */
	do
	:: result != none -> break
	:: atomic { FAULT -> faults--; printf("@ line cut\n") };
		/* Follow, over a new connection */
follow:		if
		:: atomic { lets_in && events != id && (claimed & (1 << id)) == 0 && result == none ->
			say(FOLLOW, never_started); claimed = claimed | (1 << id); no_script; result = never_started }
		:: lets_in && result != none
		:: lets_in && result == none && (events == id || (claimed & (1 << id)) != 0) && unit != id -> word = died; goto launched
		:: atomic { lets_in && events == id && result == none && (outcome != none || kept) -> ask(); goto ended }
		:: !lets_in && starts == 0 && unit == 0 && boots == 0 && !busy[UNDO] && guard_timer == 0 && confirm_timer == 0 && again == 0 && up -> res = unknown; goto finished
		:: atomic { FAULT -> faults--; STEPPED; res = unknown; goto finished }	/* it is given up */
		fi;
		break
	:: dies
	:: !up -> goto follow
	:: up && result == none && starts != id && unit != id -> goto follow		/* Launch has ended without a word, or with "died" */
	od;
	word = result;
launched:
	atomic {
	if
	:: word == applied && (outcome != none) -> ask(); goto ended
	:: word == applied && outcome == none -> goto look_verify
	:: word == locked || word == stale -> res = word; goto finished
	:: word == reverted -> res = rolled_back; goto finished
	:: word == never_started || word == failed -> res = before; goto finished
	:: word == revert_failed -> res = torn; goto finished
	:: word == died -> if :: outcome != none -> ask(); goto ended :: else -> goto revert_ fi
	fi
	};

look_verify:	if
	:: lets_in ->
		if
		:: files == PLANNED && runs == PLANNED -> goto look_keep
		:: atomic { FAULT || files != PLANNED || runs != PLANNED ->
			if :: files == PLANNED && runs == PLANNED -> faults--; STEPPED :: else fi;
			ask();
			if
			:: word != pending_ -> goto ended
			:: else -> goto revert_
			fi }
		fi
	:: !lets_in && pending != id -> goto await	/* until the deadline; then it is awaited */
	:: !lets_in && lockout -> goto await
	:: atomic { FAULT -> faults--; STEPPED; goto await }
	fi;

look_keep:
	if :: dies :: true fi;
	atomic { asks == 0 && !busy[SHELL] && lets_in -> answer = none; about = id; asks = CONFIRM };
	if
	:: dies
	:: answer == confirmed_ -> res = changed; goto finished
	:: answer == failed -> goto await
	:: atomic { answer == died || FAULT ->
		if :: answer != died -> faults--; STEPPED; printf("@ answer lost\n") :: else fi };
		/* ask */
		if
		:: atomic { lets_in -> ask();
			if
			:: word == confirmed_ -> res = changed; goto finished
			:: word == pending_ -> goto look_keep
			:: else -> goto await
			fi }
		:: !lets_in -> goto await
		fi
	fi;

revert_:	if
	:: dies
	:: atomic { lets_in && asks == 0 && !busy[SHELL] -> answer = none; about = id; asks = REVERT };
		if
		:: dies
		:: answer != none -> goto await
		:: atomic { FAULT -> faults--; STEPPED; printf("@ answer lost\n"); goto await }
		fi
	:: !lets_in -> goto await
	fi;

	/* awaitRevert */
await:	if
	:: atomic { lets_in && (pending != id || outcome != none) -> ask(); goto ended }
	/* its time is over, and nothing has come of it */
	:: atomic { up && (pending == id || !lets_in) && guard_timer == 0 && confirm_timer == 0 && again == 0 && !busy[UNDO] && !busy[RUN] && !busy[SHELL] -> res = unknown; goto finished }
	:: atomic { FAULT -> faults--; STEPPED; res = unknown; goto finished }
	fi;

	/* reverted */
ended:	atomic {
	res = (word == confirmed_ -> changed : (word == untouched -> before : (word == reverted -> rolled_back : (word == revert_failed -> torn : unknown))));

finished:
	word = none;
	printf("@ told %e\n", res);
	told = res
	};
	goto ran;
killed:	printf("@ client killed\n");
ran:	timeout;
	at_rest()
}

init {
	atomic {
#ifndef LUCK
		/* at rest is when no fault is to come, too: each number of them is tried */
		do :: faults > 0 -> faults-- :: break od;
		if :: lockout = true :: true fi;
#endif
#ifdef EACH
		c_code { if (getenv("BROKEN")) now.broken = atoi(getenv("BROKEN")); };
#endif
		run Run(); run Undo(); run Shell(); run Launch(); run Power(); run Client()
	}
}
