{{/*
The pod of a service: (dict "root" $ "role" ROLE "args" LIST "ports" DICT "loading" PATH), and
"data", what is at /srv/data: scratch, copies, shared or own.
*/}}
{{- define "clip-search.pod" -}}
{{- $values := index .root.Values .role -}}
metadata:
  labels:
    {{- include "clip-search.role" (list .root .role) | nindent 4 }}
  annotations:
    checksum/config: {{ include "clip-search.checksum" (list .root .role) }}
spec:
  {{- include "clip-search.place" . | nindent 2 }}
  terminationGracePeriodSeconds: 35 # Process.drain-wait-s and 30 seconds
  containers:
    - name: {{ .role }}
      {{- include "clip-search.container" . | nindent 6 }}
      ports:
        {{- range $name, $port := .ports }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
      # Loading takes as long as it takes; a process that waits for others is alive.
      startupProbe:
        httpGet: {path: {{ .loading }}, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ div (default 120 $values.loadingS) 5 }}
      # hnswlib loads a shard under Python's lock: .8 s a GB in which nothing is answered.
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        # By its address, a front with Front.hosts would be asked for a host that it does not know.
        httpGet: {path: /ready, port: http, httpHeaders: [{name: Host, value: localhost}]}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
  volumes:
    {{- include "clip-search.volumes" . | nindent 4 }}
{{- end }}

{{/* Where a pod runs, and as whom. */}}
{{- define "clip-search.place" -}}
serviceAccountName: {{ include "clip-search.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with index .root.Values.nodeSelector .role }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with index .root.Values.tolerations .role }}
tolerations: {{ toJson . }}
{{- end }}
{{- if ne .role "prepare" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "clip-search.role" (list .root .role) | nindent 8 }}
{{- end }}
{{- end }}

{{- define "clip-search.container" -}}
{{- $values := index .root.Values .role -}}
image: {{ include "clip-search.tag" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
{{- $single := not (has .role (list "inference" "prepare")) }}
{{- if or $single (eq .role "search") }}
env:
  {{- if $single }}
  - {name: OMP_NUM_THREADS, value: "1"}
  {{- end }}
  {{- if eq .role "search" }}
  - name: SERVER_INDEX
    valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}
  {{- end }}
{{- end }}
{{- if has .role (list "search" "prepare") }}
{{- with .root.Values.secrets.objects }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}
resources:
  requests: {cpu: {{ $values.cpus }}, memory: {{ $values.memory }}}
  limits:
    cpu: {{ $values.cpus }}
    memory: {{ $values.memory }}
    {{- with $values.gpus }}
    nvidia.com/gpu: {{ . }}
    {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  {{- include "clip-search.mounts" . | nindent 2 }}
{{- end }}
