{{/* What config.json says here, with the sections of .Values.config laid over it, as JSON. */}}
{{- define "clip-search.config" -}}
{{- $name := include "clip-search.name" . -}}
{{- $servers := list -}}
{{- range $server := until (int .Values.search.servers) -}}
  {{- $copies := list -}}
  {{- range $replica := until (int $.Values.search.replicas) -}}
    {{- $copies = append $copies (printf "%s-search-%d-%d.%s-search:9000" $name $replica $server $name) -}}
  {{- end -}}
  {{- $servers = append $servers $copies -}}
{{- end -}}
{{- $front := dict "address" "0.0.0.0" "port" 8000 "proxies" (ternary 1 0 .Values.ingress.enabled) -}}
{{- with .Values.secrets.keys }}{{ $_ := set $front "keys-file" "keys/keys.json" }}{{ end -}}
{{- $config := dict
  "Front" $front
  "Middle" (dict "listen" "0.0.0.0:8001" "server-list" (list (printf "dns:%s-middle:8001" $name)))
  "Inference" (dict "listen" "0.0.0.0:8080" "server-list" (list (printf "dns:%s-inference:8080" $name)))
  "Search" (dict "listen" "0.0.0.0:9000" "server-list" $servers)
  "Live" (dict "log" nil)
  "Prepare" (dict "images" (list "images"))
  "Process" (dict "drain-wait-s" 5)
-}}
{{- if .Values.gateway.enabled }}{{ $_ := set $config "Gateway" (dict "address" "0.0.0.0") }}{{ end -}}
{{- with .Values.secrets.inside }}{{ $_ := set $config "Inside" (dict "token-file" "inside/token") }}{{ end -}}
{{- $config = mustMergeOverwrite $config (deepCopy .Values.config) -}}
{{- if not (or .Values.secrets.keys $config.Front.open) -}}
{{- fail "front would answer nobody: set secrets.keys, or config.Front.open to let everybody ask" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not (or .Values.secrets.keys $config.Gateway.open)) -}}
{{- fail "gateway would not start: set secrets.keys, or config.Gateway.open to let everybody ask" -}}
{{- end -}}
{{- if and $config.Live.log (not .Values.storage.uploads) -}}
{{- fail "config.Live.log needs storage.uploads, where front keeps the pictures that are put" -}}
{{- end -}}
{{- mustToJson $config -}}
{{- end }}

{{/* "true" where index versions are in object storage, and search pods keep copies. */}}
{{- define "clip-search.copies" -}}
{{- $config := include "clip-search.config" . | fromJson -}}
{{- if get $config.Prepare "index-url" }}true{{ end -}}
{{- end }}

{{/* (list $ ROLE): a digest of what the pods of a role read. A file that is mounted by subPath does
     not change in a pod, so pods are renewed for a change of it. Search servers read neither Front
     nor Middle nor Gateway, and loading again takes them minutes. */}}
{{- define "clip-search.checksum" -}}
{{- $config := include "clip-search.config" (first .) | fromJson -}}
{{- if eq (last .) "search" }}{{ $config = omit $config "Front" "Middle" "Gateway" }}{{ end -}}
{{- $config | mustToJson | sha256sum -}}
{{- end }}
