package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"vetch/interop/harness"
)

type answer struct {
	code   int
	body   string
	header http.Header
}

func (f *fixture) http(method, path string) answer {
	f.Helper()
	return request(f, method, f.server.URL()+path)
}

func request(t testing.TB, method, url string) answer {
	t.Helper()
	q, err := http.NewRequestWithContext(harness.Context(t), method, url, nil)
	must(t, q, err)
	r, err := http.DefaultClient.Do(q)
	must(t, r, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return answer{r.StatusCode, string(must(t, body, err)), r.Header}
}

func TestHTTPHealth(t *testing.T) {
	f := setup(t)
	for _, path := range []string{"/health", "/health?serializable=true", "/health?exclude=NOSPACE"} {
		a := f.http("GET", path)
		want(t, path, line(a.code, strings.TrimSpace(a.body)), `200 {"health":"true","reason":""}`)
		want(t, path+": type", strings.HasPrefix(a.header.Get("Content-Type"), "text/plain"), true)
	}
	post := f.http("POST", "/health")
	want(t, "POST", line(post.code, post.header.Get("Allow")), "405 GET")

	member := f.status().Header.MemberId
	if _, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	a := f.http("GET", "/health")
	want(t, "with an alarm", line(a.code, a.body), `503 {"health":"false","reason":"ALARM NOSPACE"}`+"\n")
	want(t, "excluded", f.http("GET", "/health?exclude=NOSPACE").code, 200)
	want(t, "readyz does not count NOSPACE", f.http("GET", "/readyz").code, 200)
	if _, err := f.Maintenance.Alarm(f.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_CORRUPT}); err != nil {
		t.Fatal(err)
	}
	a = f.http("GET", "/readyz")
	want(t, "readyz with CORRUPT", a.code, 503)
	want(t, "it names the check", strings.Contains(a.body, "[-]data_corruption failed: "), true)
	want(t, "without a trailing ok", strings.HasSuffix(a.body, "ok\n") && !strings.HasSuffix(a.body, " ok\n"), false)
	want(t, "excluded", f.http("GET", "/readyz?exclude=data_corruption").code, 200)
	want(t, "livez goes on", f.http("GET", "/livez").code, 200)
}

func TestHTTPLivezReadyz(t *testing.T) {
	f := setup(t)
	lines := func(body string) string {
		l := strings.Split(strings.TrimSpace(body), "\n")
		slices.Sort(l) // the order of the checks is random
		return strings.Join(l, "|")
	}
	for path, body := range map[string]string{
		"/livez":          "ok",
		"/readyz":         "ok",
		"/livez?verbose":  "[+]serializable_read ok|ok",
		"/readyz?verbose": "[+]data_corruption ok|[+]linearizable_read ok|[+]non_learner ok|[+]serializable_read ok|ok",
		"/readyz?verbose&exclude=non_learner&exclude=linearizable_read": "[+]data_corruption ok|[+]serializable_read ok|ok",
		"/readyz?exclude=unknown":     "ok",
		"/livez/serializable_read":    "ok",
		"/readyz/linearizable_read":   "ok",
		"/readyz/data_corruption":     "ok",
		"/readyz/non_learner?verbose": "[+]non_learner ok|ok",
	} {
		a := f.http("GET", path)
		want(t, path, line(a.code, lines(a.body)), "200 "+body)
		want(t, path+": type", strings.HasPrefix(a.header.Get("Content-Type"), "text/plain"), true)
		want(t, path+": nosniff", a.header.Get("X-Content-Type-Options"), "nosniff")
	}
	want(t, "unknown check", f.http("GET", "/readyz/unknown").code, 404)
}

func TestHTTPVersion(t *testing.T) {
	f := setup(t)
	f.server.WaitSettled()
	a := f.http("GET", "/version")
	want(t, "code", a.code, 200)
	want(t, "type", a.header.Get("Content-Type"), "application/json")
	var v map[string]string
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	// Clients split these at the dots and convert the parts to integers.
	want(t, "version", line(v["etcdserver"], v["etcdcluster"], v["storage"]), "3.7.1 3.7.0 3.7.0")
	want(t, "POST", f.http("POST", "/version").code, 405)
	missing := f.http("GET", "/nothing/here")
	want(t, "unknown path", line(missing.code, strings.TrimSpace(missing.body)), "404 404 page not found")
	want(t, "old API", f.http("GET", "/v2/keys").code, 404)
}

// dashboards are the metrics that etcd's own dashboards and alerts are built on, as far as one member has them.
var dashboards = []string{
	"etcd_server_has_leader", "etcd_server_leader_changes_seen_total", "etcd_server_is_leader", "etcd_server_is_learner",
	"etcd_server_proposals_failed_total", "etcd_server_proposals_pending", "etcd_server_proposals_committed_total",
	"etcd_server_proposals_applied_total", "etcd_server_slow_apply_total", "etcd_server_quota_backend_bytes", "etcd_server_version",
	"etcd_server_id",
	"etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds",
	"etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes",
	"etcd_mvcc_put_total", "etcd_mvcc_range_total", "etcd_mvcc_txn_total", "etcd_mvcc_delete_total",
	"etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total",
	"grpc_server_started_total", "grpc_server_handled_total", "process_resident_memory_bytes", "process_cpu_seconds_total",
	"process_open_fds", "process_start_time_seconds",
}

func TestHTTPMetrics(t *testing.T) {
	f := setup(t)
	f.put("k", "v")
	f.get(&pb.RangeRequest{Key: []byte("k")})
	a := f.http("GET", "/metrics")
	want(t, "code", a.code, 200)
	want(t, "type", strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4"), true)
	value := func(series string) string {
		m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.+)$`).FindStringSubmatch(a.body)
		if m == nil {
			return "absent"
		}
		return m[1]
	}
	for _, name := range dashboards {
		if !strings.Contains(a.body, "\n# TYPE "+name+" ") && !strings.HasPrefix(a.body, "# TYPE "+name+" ") {
			t.Errorf("no metric %s", name)
		}
	}
	want(t, "has leader", value("etcd_server_has_leader"), "1")
	want(t, "version", value(`etcd_server_version{server_version="3.7.1"}`), "1")
	want(t, "puts", value("etcd_mvcc_put_total"), "1")
	want(t, "handled", value(`grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}`), "1")
	quota, err := strconv.ParseFloat(value("etcd_server_quota_backend_bytes"), 64)
	want(t, "quota", must(t, quota, err), 2147483648)
	for _, histogram := range []string{"etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"} {
		want(t, histogram+" is a histogram", value(histogram+"_count") != "absent" && strings.Contains(a.body, histogram+`_bucket{le="0.001"}`), true)
	}
}

// TestMetricsListener: an extra listener serves metrics and health, and nothing else.
func TestMetricsListener(t *testing.T) {
	port := harness.FreePort(t)
	f := setup(t, fmt.Sprintf("--listen-metrics-urls=http://127.0.0.1:%d", port))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	want(t, "metrics", strings.Contains(request(f, "GET", url+"/metrics").body, "etcd_server_has_leader 1"), true)
	want(t, "health", request(f, "GET", url+"/health").code, 200)
	want(t, "readyz", request(f, "GET", url+"/readyz").code, 200)
	want(t, "version", request(f, "GET", url+"/version").code, 404)
}
