package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestRegisterFindsPlantedViolations: what the fault tests rest on.
func TestRegisterFindsPlantedViolations(t *testing.T) {
	begin := time.Now().Add(-time.Hour)
	at := func(second int) time.Time { return begin.Add(time.Duration(second) * time.Second) }
	read := func(sent, answered int, version int64, value string) observation {
		return observation{by: "r", sent: at(sent), answered: at(answered), version: version, value: value}
	}
	write := func(sent, answered int, version int64, value string) observation {
		return observation{by: "w", sent: at(sent), answered: at(answered), version: version, value: value, wrote: true}
	}
	for name, c := range map[string]struct {
		history []observation
		want    string
	}{
		"regular":                    {[]observation{read(0, 1, 0, ""), write(2, 3, 1, "a"), read(4, 5, 1, "a"), write(6, 9, 2, "b"), read(7, 8, 2, "b")}, ""},
		"a read beside a write":      {[]observation{write(0, 9, 1, "a"), read(1, 2, 0, ""), read(3, 4, 1, "a")}, ""},
		"unanswered, seen late":      {[]observation{write(0, 1, 1, "a"), read(20, 21, 1, "a"), read(30, 31, 2, "lost")}, ""},
		"stale read":                 {[]observation{write(0, 1, 1, "a"), write(2, 3, 2, "b"), read(4, 5, 1, "a")}, "not linearizable"},
		"lost write":                 {[]observation{write(0, 1, 1, "a"), write(2, 3, 2, "b"), write(4, 5, 2, "c")}, "version 2 has the values"},
		"lost write, unread":         {[]observation{write(0, 1, 2, "a"), write(4, 5, 1, "b")}, "not linearizable"},
		"two writes won":             {[]observation{write(0, 1, 1, "a"), write(2, 3, 1, "a")}, "two writes"},
		"reads go back":              {[]observation{write(0, 9, 1, "a"), read(1, 2, 1, "a"), read(3, 4, 0, "")}, "not linearizable"},
		"a value twice":              {[]observation{write(0, 1, 1, "a"), read(2, 3, 2, "a")}, "has the versions"},
		"a value nobody wrote":       {[]observation{read(2, 3, 1, "ghost")}, "nobody wrote"},
		"seen before it was written": {[]observation{read(2, 3, 1, "lost"), write(4, 5, 2, "b")}, "not linearizable"},
	} {
		r := register{observations: c.history, attempts: map[string]time.Time{"a": at(0), "b": at(0), "c": at(0), "lost": at(10)}}
		err := r.check()
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
