#include "boot/oci/oci_host.h"

#include <stdlib.h>
#include <string.h>

#include "boot/oci/hooks.h"
#include "boot/oci/oci_seccomp.h"

void oci_host_free(struct oci_host *host)
{
	free(host->version);
	free(host->cgroups_path);
	json_decref(host->hooks);
	json_decref(host->annotations);
	json_decref(host->resources);
	memset(host, 0, sizeof(*host));
}

static void check_annotations(struct json_bind *b, json_t *annotations)
{
	const char *key;
	json_t *v;

	json_bind_enter(b, "annotations");
	json_object_foreach(annotations, key, v) if (!json_is_string(v))
		json_bind_fail(b, "'%s' is no string", key);
	json_bind_leave(b);
}

void oci_host_parse(struct json_bind *b, json_t *config, struct process_spec *process,
		    struct oci_host *host)
{
	json_t *lin = json_bind_object(b, config, "linux", false);
	json_t *annotations = json_bind_object(b, config, "annotations", false);
	const char *version = json_bind_string(b, config, "ociVersion", true);
	const char *cgroups_path;

	hooks_check(b, config);
	check_annotations(b, annotations);
	json_bind_enter(b, "linux");
	cgroups_path = json_bind_string(b, lin, "cgroupsPath", false);
	oci_parse_seccomp(b, lin, process);
	host->resources = json_incref(json_bind_object(b, lin, "resources", false));
	json_bind_leave(b);
	if (b->failed)
		return;
	host->version = strdup(version);
	host->cgroups_path = cgroups_path ? strdup(cgroups_path) : NULL;
	host->hooks = json_incref(json_bind_object(b, config, "hooks", false));
	host->annotations = json_incref(annotations);
	if (!host->version || (cgroups_path && !host->cgroups_path))
		json_bind_fail(b, "out of memory");
}
