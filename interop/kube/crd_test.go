package kube

import (
	"context"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// testCustomResources: a definition opens a new resource, whose objects behave as built-in ones do; with the definition they go.
func testCustomResources(t *testing.T, c *cluster, namespace string) {
	const objects = 40
	definition := plantDefinition()
	definitions := c.crds.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	resource := c.dynamic.Resource(schema.GroupVersionResource{Group: definition.Spec.Group, Version: "v1", Resource: definition.Spec.Names.Plural})
	plants := resource.Namespace(namespace)
	eventually(t, "the new resource is served", 30*time.Second, func(ctx context.Context) error {
		_, err := plants.List(ctx, metav1.ListOptions{})
		return err
	})
	list, err := plants.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := plants.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	inParallel(t, 4, objects, func(i int) error {
		_, err := plants.Create(t.Context(), plant(numbered("plant", i), int64(i)), metav1.CreateOptions{})
		return err
	})
	awaitKinds(t, watcher, watch.Added, objects)

	if _, err := plants.Create(t.Context(), plant("bad", -1), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("an object against the schema: %v, want Invalid", err)
	}
	changeCustomResource(t, plants, numbered("plant", 0))
	awaitKinds(t, watcher, watch.Modified, 2)

	page, err := plants.List(t.Context(), metav1.ListOptions{Limit: objects - 1})
	if err != nil || len(page.Items) != objects-1 || page.GetContinue() == "" {
		t.Fatalf("first page: %d objects, continue %q, %v", len(page.Items), page.GetContinue(), err)
	}
	page, err = plants.List(t.Context(), metav1.ListOptions{Limit: objects - 1, Continue: page.GetContinue()})
	if err != nil || len(page.Items) != 1 || page.GetContinue() != "" {
		t.Fatalf("second page: %d objects, continue %q, %v", len(page.Items), page.GetContinue(), err)
	}

	if err := definitions.Delete(t.Context(), definition.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitKinds(t, watcher, watch.Deleted, objects)
	eventually(t, "the definition is gone", 30*time.Second, func(ctx context.Context) error {
		_, err := definitions.Get(ctx, definition.Name, metav1.GetOptions{})
		return wantNotFound(err)
	})
	eventually(t, "the resource is no longer served", 30*time.Second, func(ctx context.Context) error {
		_, err := plants.List(ctx, metav1.ListOptions{})
		return wantNotFound(err)
	})
}

// changeCustomResource changes the status by its own endpoint and the spec by a patch, and shows that an old version is refused.
func changeCustomResource(t *testing.T, plants dynamic.ResourceInterface, name string) {
	t.Helper()
	old, err := plants.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	flowering := old.DeepCopy()
	if err := unstructured.SetNestedField(flowering.Object, "flowering", "status", "phase"); err != nil {
		t.Fatal(err)
	}
	flowering, err = plants.UpdateStatus(t.Context(), flowering, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustAscend(t, old.GetResourceVersion(), flowering.GetResourceVersion())
	if _, err := plants.Update(t.Context(), old, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update at an old resourceVersion: %v, want Conflict", err)
	}
	patched, err := plants.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"height":1000}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	height, _, _ := unstructured.NestedInt64(patched.Object, "spec", "height")
	phase, _, _ := unstructured.NestedString(patched.Object, "status", "phase")
	if height != 1000 || phase != "flowering" || patched.GetGeneration() != old.GetGeneration()+1 {
		t.Errorf("after status and patch: %v", patched.Object)
	}
}

// awaitKinds reads that many events off a watch, all of one kind.
func awaitKinds(t *testing.T, watcher watch.Interface, kind watch.EventType, count int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for got := range count {
		select {
		case event, open := <-watcher.ResultChan():
			if !open {
				t.Fatalf("the watch ended after %d of %d %s events", got, count, kind)
			}
			if event.Type != kind {
				t.Fatalf("%s event, want %s: %v", event.Type, kind, event.Object)
			}
		case <-deadline:
			t.Fatalf("%d of %d %s events", got, count, kind)
		}
	}
}

func plantDefinition() *apiextensionsv1.CustomResourceDefinition {
	least := 0.0
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
	}
	openAPI := object(map[string]apiextensionsv1.JSONSchemaProps{
		"spec":   object(map[string]apiextensionsv1.JSONSchemaProps{"height": {Type: "integer", Minimum: &least}}),
		"status": object(map[string]apiextensionsv1.JSONSchemaProps{"phase": {Type: "string"}}),
	})
	names := apiextensionsv1.CustomResourceDefinitionNames{Plural: "plants", Singular: "plant", Kind: "Plant", ListKind: "PlantList"}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: names.Plural + ".interop.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "interop.example.com",
			Scope: apiextensionsv1.NamespaceScoped,
			Names: names,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name:         "v1",
				Served:       true,
				Storage:      true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &openAPI},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

func plant(name string, height int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "interop.example.com/v1",
		"kind":       "Plant",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"height": height},
	}}
}
