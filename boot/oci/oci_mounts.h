/* config.json's root and mounts. For boot/oci/oci.c. */
#ifndef MOAT_BOOT_OCI_MOUNTS_H
#define MOAT_BOOT_OCI_MOUNTS_H

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

/* mounts[0]: an upper layer in memory over root.path. */
void oci_parse_root(struct json_bind *b, json_t *config, struct sandbox_spec *spec);
/* The others in their order, and a /dev if none of them is one. */
void oci_parse_mounts(struct json_bind *b, json_t *config, struct sandbox_spec *spec);
/* The i-th option that any mount may have; NULL behind the last. */
const char *oci_mount_option(unsigned i);

#endif
