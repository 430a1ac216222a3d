/* config.json's linux object. For boot/oci/oci.c. */
#ifndef MOAT_BOOT_OCI_LINUX_H
#define MOAT_BOOT_OCI_LINUX_H

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

/* What cannot be had is refused where the container would see or do something else without it
 * (devices, id mappings), and warned of in the log where it would only be less restricted inside
 * (system calls, settings): the boundary does not rest on those. */
void oci_parse_linux(struct json_bind *b, json_t *config, struct sandbox_spec *spec);

#endif
