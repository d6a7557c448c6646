{{/* What is mounted into a pod, by role: the volumes, and below where they are. */}}
{{- define "clip-search.volumes" -}}
{{- $storage := .root.Values.storage -}}
{{- $secrets := .root.Values.secrets -}}
{{- $name := include "clip-search.name" .root -}}
- name: config
  secret: {secretName: {{ $name }}-config}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
{{- with $secrets.inside }}
- name: inside
  secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: token, path: token}]}
{{- end }}
{{- if and $secrets.keys (has .role (list "front" "gateway")) }}
- name: keys
  secret: {secretName: {{ $secrets.keys }}, defaultMode: 0440, items: [{key: keys.json, path: keys.json}]}
{{- end }}
{{- if eq .data "scratch" }}
- name: data
  emptyDir: {sizeLimit: {{ (index .root.Values .role).scratch }}}
{{- else if has .data (list "own" "shared") }}
- name: data
  persistentVolumeClaim: {claimName: {{ $storage.data.claim | default (printf "%s-data" $name) }}}
{{- end }}
{{- range $claim, $roles := include "clip-search.claims" . | fromJson }}
{{- if and (has $.role $roles) (index $storage $claim) }}
- name: {{ $claim }}
  persistentVolumeClaim: {claimName: {{ index $storage $claim }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "clip-search.mounts" -}}
{{- $storage := .root.Values.storage -}}
{{- $secrets := .root.Values.secrets -}}
- {name: config, mountPath: /srv/config.json, subPath: config.json, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- with $secrets.inside }}
- {name: inside, mountPath: /srv/inside, readOnly: true}
{{- end }}
{{- if and $secrets.keys (has .role (list "front" "gateway")) }}
- {name: keys, mountPath: /srv/keys, readOnly: true}
{{- end }}
{{- with .data }}
- {name: data, mountPath: /srv/data, readOnly: {{ eq . "shared" }}}
{{- end }}
{{- range $claim, $roles := include "clip-search.claims" . | fromJson }}
{{- if and (has $.role $roles) (index $storage $claim) }}
- name: {{ $claim }}
  mountPath: /srv/{{ ternary $claim (printf "data/%s" $claim) (eq $claim "images") }}
  readOnly: {{ or (eq $claim "images") (and (eq $claim "uploads") (eq $.role "prepare")) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The roles that use each claim of .Values.storage. */}}
{{- define "clip-search.claims" -}}
{"images": ["front", "prepare"], "uploads": ["front", "gateway", "prepare"], "models": ["inference", "prepare"]}
{{- end }}
