package differential

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"vetch/interop/harness"
)

var (
	seedFlag   = flag.Uint64("diff.seed", 0, "run only this seed")
	seedsFlag  = flag.Int("diff.seeds", 20, "how many seeds to run, from 1")
	stepsFlag  = flag.String("diff.steps", "0-599", "steps of each seed: numbers and ranges, separated by commas")
	shrinkFlag = flag.Int("diff.shrink", 0, "after a difference, try up to this many runs with steps left out to find a shorter one")
	// profileSteps fixes the step of the restart, so that leaving out steps does not move it.
	profileSteps = flag.Int("diff.profile-steps", 600, "length of the full run that -diff.steps is a part of")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// TestDifferential runs each seed against a fresh real etcd and a fresh server under test. With INTEROP_TARGET=etcd both are etcd,
// which proves that the requests have one right answer.
func TestDifferential(t *testing.T) {
	steps, err := parseSteps(*stepsFlag)
	if err != nil {
		t.Fatal(err)
	}
	if *seedFlag != 0 {
		runSeed(t, "TestDifferential", alone, *seedFlag, steps, newCoverage(t, false))
		return
	}
	seen := newCoverage(t, *seedsFlag >= 20 && len(steps) >= 600)
	for seed := uint64(1); seed <= uint64(*seedsFlag); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			runSeed(t, "TestDifferential", alone, seed, steps, seen)
		})
	}
}

// followerSeeds are few: what is special about a follower shows soon, and six servers take part in each.
const followerSeeds = 5

// TestDifferentialFollower is TestDifferential through a follower of a cluster of three, on both sides.
func TestDifferentialFollower(t *testing.T) {
	steps, err := parseSteps(*stepsFlag)
	if err != nil {
		t.Fatal(err)
	}
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = []uint64{}
		for seed := uint64(1); seed <= followerSeeds; seed++ {
			seeds = append(seeds, seed)
		}
	}
	seen := newCoverage(t, false)
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			runSeed(t, "TestDifferentialFollower", follower, seed, steps, seen)
		})
	}
}

// starter starts what both sides are, and connects to it.
type starter func(ctx context.Context, t *testing.T, subject harness.Target, seed uint64, profile Profile) (*Run, error)

func alone(ctx context.Context, t *testing.T, subject harness.Target, seed uint64, profile Profile) (*Run, error) {
	options := harness.Options{Fast: true}
	return NewRun(ctx, seed, profile, harness.StartTarget(t, harness.Etcd, options), harness.StartTarget(t, subject, options))
}

// follower starts clusters that do not hold elections because a machine is busy: a new term differs between the sides.
func follower(ctx context.Context, t *testing.T, subject harness.Target, seed uint64, profile Profile) (*Run, error) {
	options := harness.ClusterOptions{Size: 3, Fast: true, Flags: []string{"--election-timeout=4000"}}
	return NewFollowerRun(ctx, seed, profile, harness.StartClusterOf(t, harness.Etcd, options), harness.StartClusterOf(t, subject, options))
}

func runSeed(t *testing.T, test string, start starter, seed uint64, steps []int, seen *coverage) {
	run, err := attempt(t, start, seed, steps)
	var d *Difference
	switch {
	case err == nil:
		seen.add(run)
		t.Logf("seed %d: %d requests, equal", seed, run.requests)
		return
	case !errors.As(err, &d):
		t.Fatal(err)
	}
	steps = upTo(steps, d.Step)
	if *shrinkFlag > 0 {
		steps = shrink(steps, *shrinkFlag, func(candidate []int) bool {
			_, err := attempt(t, start, seed, candidate)
			return err != nil
		})
	}
	t.Fatalf("seed %d: %v\n\nreplay (add -diff.shrink=40 to shorten):\n  cd interop && go test ./differential -run '%s$' -count=1 -diff.seed=%d -diff.steps=%s",
		seed, d, test, seed, formatSteps(steps))
}

// attempt runs the steps on fresh servers.
func attempt(t *testing.T, start starter, seed uint64, steps []int) (*Run, error) {
	profile := ProfileOf(seed, *profileSteps)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	target, err := harness.UnderTest()
	if err != nil {
		t.Fatal(err)
	}
	run, err := start(ctx, t, target, seed, profile)
	if err != nil {
		return run, err
	}
	err = run.Steps(ctx, steps, profile)
	for _, s := range run.sides() {
		for _, member := range s.members() {
			if !member.Alive() {
				err = fmt.Errorf("%s %s has ended: %w\n%s", s.name, member.Name(), err, member.Log())
			} else {
				member.Kill()
			}
		}
	}
	return run, err
}

// shrink leaves out ever smaller parts of steps while fails still says yes, and gives up after tries runs.
func shrink(steps []int, tries int, fails func([]int) bool) []int {
	for size := len(steps) / 2; size >= 1; size /= 2 {
		for start := 0; start+size <= len(steps); {
			if tries == 0 {
				return steps
			}
			tries--
			candidate := append(append([]int{}, steps[:start]...), steps[start+size:]...)
			if fails(candidate) {
				steps = candidate
			} else {
				start += size
			}
		}
	}
	return steps
}

func upTo(steps []int, last int) []int {
	for i, n := range steps {
		if n == last {
			return steps[:i+1]
		}
	}
	return steps
}

func parseSteps(s string) ([]int, error) {
	var steps []int
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("-diff.steps: %w", err)
		}
		to := from
		if isRange {
			if to, err = strconv.Atoi(last); err != nil {
				return nil, fmt.Errorf("-diff.steps: %w", err)
			}
		}
		for n := from; n <= to; n++ {
			steps = append(steps, n)
		}
	}
	return steps, nil
}

func formatSteps(steps []int) string {
	var parts []string
	for i := 0; i < len(steps); {
		j := i
		for j+1 < len(steps) && steps[j+1] == steps[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(steps[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", steps[i], steps[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}
