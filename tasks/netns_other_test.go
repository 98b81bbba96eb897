//go:build !linux

package tasks

import "errors"

func unshareNet() error { return errors.ErrUnsupported }
