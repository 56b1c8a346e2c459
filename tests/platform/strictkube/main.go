// Decodes Kubernetes objects strictly into the types of their APIs: a field that the API does not know, or a
// value of another type, is an error. Reads a stream of YAML documents from standard input, and prints a line
// for each: "ok" or the error, its kind and its name. Exit status 1 if one is wrong.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	operator "github.com/open-telemetry/opentelemetry-operator/apis/v1alpha1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, autoscaling.AddToScheme, batch.AddToScheme, core.AddToScheme,
		networking.AddToScheme, policy.AddToScheme, rbac.AddToScheme, operator.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	stream, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(stream)))
	buffer, failed := make([]byte, len(stream)+1), false
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			panic(err)
		}
		if len(bytes.TrimSpace(buffer[:n])) == 0 {
			continue
		}
		what := "ok"
		if _, _, err := decoder.Decode(buffer[:n], nil, nil); err != nil {
			what, failed = err.Error(), true
		}
		var head struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		_ = yaml.Unmarshal(buffer[:n], &head)
		fmt.Printf("%s/%s: %s\n", head.Kind, head.Metadata.Name, what)
	}
	if failed {
		os.Exit(1)
	}
}
