package snapshot

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
