//go:build cgo

package store

import "time"

// epoch turns clock readings into a time.Duration above 0.
var epoch = time.Now().Add(-time.Second)

// LossWindow is the age of the oldest commit that a crash of the machine would undo; 0 if
// there is none, or no file. It may be too long by the length of a flush or a save, never
// too short.
func (s *Store) LossWindow() time.Duration {
	if s.Unlogged() == 0 {
		return 0
	}
	if since := s.exposed.Load(); since != 0 {
		return time.Since(epoch) - time.Duration(since)
	}
	return 0 // the commit is about to call expose
}

// expose notes the time of the commit of that epoch, if it is not durable and all before it
// are. It is called after the commit has its epoch.
func (s *Store) expose(commit uint64) {
	if s.file == nil || s.exposed.Load() != 0 {
		return
	}
	now := int64(time.Since(epoch))
	if s.exposed.CompareAndSwap(0, now) && s.file.Durable() >= commit {
		s.exposed.CompareAndSwap(now, 0) // it was covered before it came here
	}
}

// covered notes that all commits made before start are durable. A commit that finds exposed
// set leaves it, so covered looks for such commits after it has cleared it. Each of them is
// younger than start.
func (s *Store) covered(start time.Time) {
	s.exposed.Store(0)
	if s.Unlogged() > 0 {
		s.exposed.Store(int64(start.Sub(epoch)))
	}
}
