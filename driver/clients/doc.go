// Package clients runs libraries that use SQLite on sqlite-mem. It is a module of its
// own, so that the libraries are not in the main module's go.mod.
package clients
