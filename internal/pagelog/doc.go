// Package pagelog reads and writes the log of a database that is in memory, FILE-memwal. It
// has the format of the log and the [Writer] that appends to it. [Read] and [Pick] find what
// a crash has left. Package image decides when a log is written, and where its pages come
// from.
package pagelog
