/* linux.seccomp of config.json: a container's own rules for its system calls, as the program that
 * the sentry judges its processes by. */
#ifndef MOAT_BOOT_OCI_SECCOMP_H
#define MOAT_BOOT_OCI_SECCOMP_H

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

/* Compiles the profile of `lin` (config.json's linux object), if there is one, into spec->seccomp.
 */
void oci_parse_seccomp(struct json_bind *b, json_t *lin, struct process_spec *spec);
/* The i-th action or operator that a profile may have; NULL behind the last. */
const char *oci_seccomp_action(unsigned i);
const char *oci_seccomp_operator(unsigned i);

#endif
