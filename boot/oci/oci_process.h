/* config.json's process object: labels, scheduling. For boot/oci/oci.c. */
#ifndef MOAT_BOOT_OCI_PROCESS_H
#define MOAT_BOOT_OCI_PROCESS_H

#include "boot/spec/json_bind.h"
#include "boot/spec/spec.h"

/* apparmorProfile and selinuxLabel: recorded, and shown in /proc/PID/attr. The sentry enforces
 * neither; that the process is cut off from the host does not rest on them. */
void oci_parse_label(struct json_bind *b, json_t *process, struct process_spec *spec);
/* scheduler and ioPriority: what the guest's own calls would set (man 2 sched_setattr, ioprio_set).
 */
void oci_parse_scheduling(struct json_bind *b, json_t *process, struct process_spec *spec);

#endif
