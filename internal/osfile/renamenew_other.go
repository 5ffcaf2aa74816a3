//go:build !linux && !windows

package osfile

import "errors"

// renameNew fails: there is no portable call.
func renameNew(from, to string) error { return errors.ErrUnsupported }
