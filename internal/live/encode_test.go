package live

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ensure that a session that ends tells its tool so in the place of a context's end, but not in
// the place of an error that tells what has been done.
func TestSession_encode(t *testing.T) {
	committed := errors.New("committed, but not durable")
	srv := newServer(ServerConfig{EncodeError: func(err error) []byte {
		if errors.Is(err, committed) {
			return []byte("committed")
		}
		return nil
	}})
	defer srv.cancel()
	s := newSession(srv, nil, Peer{})
	require.Equal(t, errCanceled, s.encode(fmt.Errorf("save: %w", context.Canceled)).Kind, "the tool's own context")
	s.endBy("the server is closing")
	require.Equal(t, errClosing, s.encode(context.Canceled).Kind)
	require.Equal(t, errClosing, s.encode(fmt.Errorf("save: %w", context.Canceled)).Kind)
	e := s.encode(fmt.Errorf("%w: %w", committed, context.Canceled))
	require.Equal(t, errCoded, e.Kind)
	require.Equal(t, "committed", string(e.Data))
	require.Nil(t, s.encode(nil))
}
