{{/* The name of an object, at most 63 characters: dict "root" $ "part" "webserver" */}}
{{- define "freshline.name" -}}
{{- $name := printf "%s-%s" .root.Release.Name .part -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "%s has more than 63 characters: give the release a shorter name" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* A code location as part of a name. Locations have no hyphens, so no two become the same. */}}
{{- define "freshline.part" -}}
{{- replace "_" "-" . -}}
{{- end -}}

{{/* Labels by which pods are chosen: dict "root" $ "component" "worker" "location" "ingestion" */}}
{{- define "freshline.chosenBy" -}}
app.kubernetes.io/name: freshline
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- with .location }}
freshline/location: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "freshline.labels" -}}
{{ include "freshline.chosenBy" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* The instance's settings: the checkout's dagster.yaml, with what `dagster` replaces. */}}
{{- define "freshline.instance" -}}
{{- $settings := .Files.Get "files/dagster.yaml" | fromYaml -}}
{{- range $key, $value := .Values.dagster -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The workspace: the code server of each team. */}}
{{- define "freshline.workspace" -}}
load_from:
{{- range $location, $_ := .Values.teams }}
  - grpc_server:
      location_name: {{ $location | quote }}
      host: {{ include "freshline.name" (dict "root" $ "part" (include "freshline.part" $location)) }}
      port: {{ include "freshline.port" $ }}
{{- end }}
{{- end -}}

{{/* The port of every code server: each has an address of its own. */}}
{{- define "freshline.port" -}}4000{{- end -}}

{{/* A variable from a secret: dict "name" "X" "from" (dict "secret" "s" "key" "k") */}}
{{- define "freshline.secret" -}}
- name: {{ .name | quote }}
  valueFrom:
    secretKeyRef: { name: {{ .from.secret | quote }}, key: {{ .from.key | quote }} }
{{- end -}}

{{/* Where Dagster's database and the broker are: dict "root" $ "user" "x" "password" (secret) */}}
{{- define "freshline.environment" -}}
{{- with .root.Values.postgres -}}
- { name: DAGSTER_PG_HOST, value: {{ .host | quote }} }
- { name: DAGSTER_PG_PORT, value: {{ .port | int | quote }} }
- { name: DAGSTER_PG_DATABASE, value: {{ .database | quote }} }
{{- end }}
- { name: DAGSTER_PG_USER, value: {{ .user | quote }} }
{{ include "freshline.secret" (dict "name" "DAGSTER_PG_PASSWORD" "from" .password) }}
{{- with .root.Values.broker }}
{{ include "freshline.secret" (dict "name" "FRESHLINE_BROKER_PASSWORD" "from" .password) }}
- name: FRESHLINE_BROKER_URL
  value: {{ printf "redis://:$(FRESHLINE_BROKER_PASSWORD)@%s:%d/%d" .host (int .port) (int .database) | quote }}
{{- end }}
{{- end -}}

{{/* The environment of a team: dict "root" $ "location" "x" "team" (values) */}}
{{- define "freshline.teamEnvironment" -}}
{{- $user := .team.postgres.user | default (printf "%s_dagster" .location) -}}
{{ include "freshline.environment" (dict "root" .root "user" $user "password" .team.postgres.password) }}
- { name: DAGSTER_CURRENT_IMAGE, value: {{ .team.image | quote }} }
{{- range $name, $value := .team.env }}
- { name: {{ $name | quote }}, value: {{ $value | quote }} }
{{- end }}
{{- range $name, $from := .team.secretEnv }}
{{ include "freshline.secret" (dict "name" $name "from" $from) }}
{{- end }}
{{- end -}}

{{/* What all pods have in common, but for their containers and volumes. */}}
{{- define "freshline.pod" -}}
automountServiceAccountToken: false
# A service called `ingestion` would otherwise set INGESTION_PORT in every pod.
enableServiceLinks: false
# The pause process is the first one then, and reaps what a run that was killed leaves behind.
shareProcessNamespace: true
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "freshline.container" -}}
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* The folders that are written, as the Containerfiles name them, and the settings. */}}
{{- define "freshline.mounts" -}}
- { name: instance, mountPath: /etc/freshline, readOnly: true }
- { name: tmp, mountPath: /tmp }
- { name: local, mountPath: /srv/freshline/.local }
{{- end -}}

{{- define "freshline.volumes" -}}
- { name: tmp, emptyDir: {} }
- { name: local, emptyDir: {} }
{{- end -}}

{{/* What everybody may talk to: names, Postgres, the broker. */}}
{{- define "freshline.servers" -}}
- ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
- ports: [{ port: {{ .Values.postgres.port }} }]
  {{- with .Values.network.postgres.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
- ports: [{ port: {{ .Values.broker.port }} }]
  {{- with .Values.network.broker.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
