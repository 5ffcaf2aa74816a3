//go:build cgo && !unix

package driver_test

import "errors"

// limitDescriptors fails: there is no such limit.
func limitDescriptors(uint64) error { return errors.ErrUnsupported }
