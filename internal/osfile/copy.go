package osfile

import (
	"context"
	"errors"
	"io"
)

// Copy copies src to a new file, to, of mode 0600, and syncs it. The directory is not
// synced. After an error, and at the end of ctx, the new file may be there in part.
func Copy(ctx context.Context, fsx FS, to string, src File) error {
	dst, err := fsx.Create(to, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, Piece)
	for off := int64(0); err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = src.ReadAt(buf, off)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		off += int64(n)
	}
	if err == io.EOF {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// Piece is how many bytes are read, hashed or copied at a time: 1 MiB.
const Piece = 1 << 20
