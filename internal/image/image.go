package image

// Source is a database in memory that a [File] keeps.
type Source interface {
	// Pin pins the last commit, in constant time.
	Pin() (Image, error)

	// Track has every commit from now on note the pages that it changes.
	Track()

	// PinChanges is Pin, and adds to pages those that may differ from the
	// state pinned by the call before, or from that of Track: page 1 is bit 0
	// of the first word. It returns pages, grown if need be. all: the page
	// size has changed meanwhile. After an error nothing is lost.
	PinChanges(pages []uint64) (img Image, _ []uint64, all bool, err error)
}

// Image is one committed state of a database, pinned: it does not change until
// Release.
type Image interface {
	// Version grows with every commit that changed anything.
	Version() uint64

	// Size is in bytes, a multiple of PageSize; 0 for an empty database.
	Size() int64

	// PageSize is in bytes, a power of two from 512 to 65536. It is not
	// looked at when Size is 0.
	PageSize() int

	// ReadAt fills p with the bytes of the image at off. Save and Flush ask for whole
	// pages, at most 4 MiB at a time, in order, from one goroutine.
	ReadAt(p []byte, off int64) (int, error)

	// Release ends the pin.
	Release()
}

// Sink receives a database image at load, in order.
type Sink interface {
	// Reserve is called once, before the first Next. Both are in bytes; size
	// is a multiple of pageSize and over 0.
	Reserve(pageSize int, size int64) error

	// Next returns the memory for the next bytes of the image: a whole number
	// of pages, at least one, at most max bytes. The loader reads the file
	// straight into it and does not keep it beyond the following call of Next
	// or the end of Open.
	Next(max int) ([]byte, error)
}
