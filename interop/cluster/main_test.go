package cluster

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets two clusters run at a time: most tests wait for timers of the servers.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("2"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
