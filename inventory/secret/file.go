package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ErrSlow is wrapped by the error of what gave no answer in its time.
var ErrSlow = errors.New("no answer")

// fileTime is how long a file may give no answer, and fileGrace how long it has
// when the run has ended: by then one on a disk has answered, so that what is told
// does not hang on the moment.
const fileTime, fileGrace = 30 * time.Second, time.Second

// maxText bounds what is read for one secret. None is that long: a file that is
// no file for a secret must not fill the memory.
const maxText = 64 << 10

// ReadFile returns the content of a file of at most so many bytes, and what it
// is. It opens it once, so that nothing can be put in its place in between. A file
// that gives no answer, such as a FIFO that nobody writes to, is left when ctx
// ends or after half a minute. The error does not name the file.
func ReadFile(ctx context.Context, path string, most int64) ([]byte, fs.FileInfo, error) {
	return readFile(ctx, fileTime, path, most)
}

func readFile(ctx context.Context, limit time.Duration, path string, most int64) ([]byte, fs.FileInfo, error) {
	type file struct {
		text []byte
		info fs.FileInfo
	}
	got, err := within(ctx, limit, fileGrace, func(context.Context) (file, error) {
		f, err := os.Open(path)
		if err != nil {
			return file{}, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return file{}, err
		}
		text, err := io.ReadAll(io.LimitReader(f, most+1))
		if err == nil && int64(len(text)) > most {
			err = fmt.Errorf("it is larger than %d KiB", most>>10)
		}
		return file{text, info}, err
	})
	if err != nil {
		return nil, nil, unnamed(err)
	}
	return got.text, got.info, nil
}

// within returns what f returns, which may be never. When ctx ends, or the limit
// is over, it waits as long as the grace says, and leaves f: then the error is the
// cause of that.
func within[T any](ctx context.Context, limit, grace time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w within %s", ErrSlow, limit))
	defer cancel()
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r.v, r.err
	case <-time.After(grace):
		var none T
		return none, context.Cause(ctx)
	}
}
