/* What of a config.json is for the host's side: hooks, cgroup, what `state` shows. */
#ifndef MOAT_BOOT_OCI_HOST_H
#define MOAT_BOOT_OCI_HOST_H

#include <jansson.h>

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

struct oci_host {
	char *version;
	json_t *hooks, *annotations; /* objects of the document, referenced; or NULL */
	json_t *resources;	     /* linux.resources, likewise */
	char *cgroups_path;	     /* NULL: not said */
};

void oci_host_free(struct oci_host *host);
/* Fills it, and what of the process is not in the process object, from a document whose process has
 * been parsed. */
void oci_host_parse(struct json_bind *b, json_t *config, struct process_spec *process,
		    struct oci_host *host);
/* As oci_parse(), for a runtime that runs hooks and keeps state. */
int oci_parse_with_host(const char *text, size_t len, struct sandbox_spec *spec,
			struct oci_host *host, char *err, size_t errlen);
/* A process by itself, as `exec --process` has it; spec from process_spec_init(). */
int oci_parse_process(const char *text, size_t len, struct process_spec *spec, char *err,
		      size_t errlen);

#endif
