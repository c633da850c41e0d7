package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// assetSet is the embedded files by name.
type assetSet map[string]asset

type asset struct {
	data    []byte
	kind    string // its media type
	version string // changes with its content
}

func loadAssets() (assetSet, error) {
	entries, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	set := make(assetSet, len(entries))
	for _, e := range entries {
		data, err := fs.ReadFile(assetFiles, "assets/"+e.Name())
		if err != nil {
			return nil, err
		}
		kind, ok := mediaType(e.Name())
		if !ok {
			return nil, fmt.Errorf("%s has no media type", e.Name())
		}
		sum := sha256.Sum256(data)
		set[e.Name()] = asset{data: data, kind: kind, version: hex.EncodeToString(sum[:6])}
	}
	return set, nil
}

// mediaType does not ask the system, whose answers differ.
func mediaType(name string) (kind string, ok bool) {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8", true
	case ".js":
		return "text/javascript; charset=utf-8", true
	case ".svg":
		return "image/svg+xml", true
	case ".txt":
		return "text/plain; charset=utf-8", true
	}
	return "", false
}

// url is the path of an asset, which changes with its content so that it can
// be kept for ever.
func (set assetSet) url(name string) (string, error) {
	a, ok := set[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return "/assets/" + name + "?v=" + a.version, nil
}

func (s *server) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	if r.URL.Query().Get("v") == a.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", noTime, strings.NewReader(string(a.data)))
}
