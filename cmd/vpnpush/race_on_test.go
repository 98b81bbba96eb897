//go:build race

package main

// racing says that the race detector is in the program.
const racing = true
