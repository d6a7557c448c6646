{{/* Names, labels and checks. StatefulSets put the name and a hash into a label: 63 characters. */}}
{{- define "clip-search.name" -}}
{{- $name := ternary .Release.Name (printf "%s-clip-search" .Release.Name) (contains "clip-search" .Release.Name) -}}
{{- trunc 36 $name | trimSuffix "-" -}}
{{- end }}

{{- define "clip-search.release" -}}
app.kubernetes.io/name: clip-search
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* (list $ ROLE): the labels that select the pods of a role. */}}
{{- define "clip-search.role" -}}
{{ include "clip-search.release" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* (list $ ROLE): what every object is marked with. */}}
{{- define "clip-search.labels" -}}
{{- $root := first . -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "clip-search.role" . }}
{{- end }}

{{/* (list $ ROLE): the name and the labels of an object. */}}
{{- define "clip-search.metadata" -}}
name: {{ include "clip-search.name" (first .) }}-{{ last . }}
labels:
  {{- include "clip-search.labels" . | nindent 2 }}
{{- end }}

{{- define "clip-search.tag" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* "true" where the autoscaler chooses how many pods a role has. */}}
{{- define "clip-search.scales" -}}
{{- if gt (int .maxReplicas) (int .replicas) }}true{{ end -}}
{{- end }}
