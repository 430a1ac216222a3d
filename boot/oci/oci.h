/*
 * The OCI runtime specification's config.json, as far as a single container needs it
 * (github.com/opencontainers/runtime-spec, config.md and config-linux.md).
 */
#ifndef MOAT_BOOT_OCI_H
#define MOAT_BOOT_OCI_H

#include <stddef.h>

#include "boot/spec/spec.h"

/* Fills spec (initialised with spec_init) from the text of a config.json. Touches no file. Sources
 * of bind mounts and root.path stay as they are written; oci_resolve() makes them absolute.
 * 0 or -errno, with a message in err that names the place in the document. */
int oci_parse(const char *text, size_t len, struct sandbox_spec *spec, char *err, size_t errlen);
/* Makes the host's paths absolute, relative ones to the bundle, and checks that they exist. Adds
 * HOME to the environment if it is not there: the home of the process's user in the container. */
int oci_resolve(struct sandbox_spec *spec, const char *bundle, char *err, size_t errlen);

#endif
