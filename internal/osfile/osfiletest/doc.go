// Package osfiletest holds file systems for tests. [FaultFS] fails operations, [PlantedFS]
// does some of them wrongly, and a [Recording] makes every state that a power failure may
// leave on the disk.
package osfiletest
