//go:build cgo

package driver

// SetUp are the pragmas of a new connection.
const SetUp = setUp + "; " + setUpCache

// NewOwnedError is newOwnedError.
var NewOwnedError = newOwnedError
