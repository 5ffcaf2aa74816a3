// Package pagelog is the log of a database that is in memory, FILE-memwal: its format,
// the [Writer] that appends to it, and [Read] and [Pick], which find what a crash has left.
// When a log is written, and where its pages come from, package image decides.
package pagelog
