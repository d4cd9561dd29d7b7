package contract

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets several tests wait at the same time: most of them wait for timers of the server rather than for a processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("4"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
