package image

// Source is the database in memory that a [File] saves.
type Source interface {
	// Pin pins the last commit, in constant time.
	Pin() (Image, error)

	// Track makes every later commit note the pages that it changes.
	Track()

	// PinChanges is Pin, and adds to pages those that may have changed since the call
	// before, or since Track. Page 1 is bit 0 of the first word. It returns pages, which
	// may have grown. all: the page size or the whole database has changed meanwhile. After an error the next
	// call has the changes.
	PinChanges(pages []uint64) (img Image, _ []uint64, all bool, err error)
}

// Image is one committed state of a database. It is pinned: it does not change until Release.
type Image interface {
	// Version grows with every commit that has changed something.
	Version() uint64

	// Size is in bytes, a multiple of PageSize; 0 for an empty database.
	Size() int64

	// PageSize is in bytes, a power of two from 512 to 65536. It does not count if Size
	// is 0.
	PageSize() int

	// ReadAt fills p with the bytes of the image at off. Save and Flush read whole pages,
	// at most 4 MiB at a time, in order, from one goroutine.
	ReadAt(p []byte, off int64) (int, error)

	// Release ends the pin.
	Release()
}

// Sink receives the image of a database at a load, in order.
type Sink interface {
	// Reserve is called once, before the first Next. Both are in bytes. size is a multiple
	// of pageSize and over 0.
	Reserve(pageSize int, size int64) error

	// Next returns the memory for the next bytes of the image: one whole page or more, at
	// most max bytes. Open reads the file into it, and does not use it after the next call
	// of Next or its own end.
	Next(max int) ([]byte, error)
}
