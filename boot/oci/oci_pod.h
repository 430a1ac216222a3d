/* What a container of a pod shares with the others. For boot/oci/oci.c and whoever makes such a
 * one. */
#ifndef MOAT_BOOT_OCI_POD_H
#define MOAT_BOOT_OCI_POD_H

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

/*
 * Mount hints, as gVisor has them in annotations, the sandbox's or the container's own:
 *	dev.gvisor.spec.mount.NAME.source	a path of the host; a mount with that source is
 *meant dev.gvisor.spec.mount.NAME.type		tmpfs: a file system in memory in its place; bind
 *	dev.gvisor.spec.mount.NAME.share	pod: one for all containers; container, shared
 *	dev.gvisor.spec.mount.NAME.options	of tmpfs, comma-separated
 * annotations may be NULL.
 */
void oci_apply_mount_hints(struct json_bind *b, json_t *annotations, struct container_spec *spec);
/* The same for a specification after oci_resolve(). 0 or -errno with a message. */
int oci_mount_hints(json_t *annotations, struct container_spec *spec, char *err, size_t errlen);
/* linux.namespaces: pids of its own, or those of the sandbox (a pid namespace with a path, or a
 * list without one). */
void oci_parse_shared_pids(struct json_bind *b, json_t *lin, struct container_spec *spec);

#endif
