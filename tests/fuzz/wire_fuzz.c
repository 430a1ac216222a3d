/* Specifications as a client may send them: unpacked, copied, packed again. */
#include <stddef.h>
#include <stdint.h>

#include "boot/spec/spec_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Moat__ContainerSpec *wire = moat__container_spec__unpack(NULL, size, data);
	struct container_spec spec;
	Moat__ContainerSpec again;

	if (!wire)
		return 0;
	if (!wire_to_container(wire, &spec) && !wire_from_container(&spec, &again))
		wire_container_free(&again);
	container_spec_free(&spec);
	moat__container_spec__free_unpacked(wire, NULL);
	return 0;
}
