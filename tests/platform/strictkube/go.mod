module github.com/otel-realtime/otel-realtime/tests/platform/strictkube

go 1.26

require (
	github.com/open-telemetry/opentelemetry-operator v0.139.0
	k8s.io/api v0.34.1
	k8s.io/apimachinery v0.34.1
	sigs.k8s.io/yaml v1.6.0
)
