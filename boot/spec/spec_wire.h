/* Specifications as messages of the control protocol, for what goes into a running sandbox. */
#ifndef MOAT_BOOT_SPEC_WIRE_H
#define MOAT_BOOT_SPEC_WIRE_H

#include "boot/spec/spec.h"
#include "control/moat.pb-c.h"

/* Fill a message whose strings belong to the specification, which must outlive it; the vectors are
 * freed by the functions below. 0 or -ENOMEM (then nothing is to be freed). */
int wire_from_process(const struct process_spec *spec, Moat__ProcessSpec *out);
int wire_from_container(const struct container_spec *spec, Moat__ContainerSpec *out);
void wire_process_free(Moat__ProcessSpec *wire);
void wire_container_free(Moat__ContainerSpec *wire);

/* Copies; the specification is to be freed whatever they return. 0, -ENOMEM, -EINVAL for values out
 * of range. */
int wire_to_process(const Moat__ProcessSpec *wire, struct process_spec *out);
int wire_to_container(const Moat__ContainerSpec *wire, struct container_spec *out);

#endif
