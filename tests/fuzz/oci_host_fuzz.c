/* config.json as create reads it: with hooks, seccomp profile, annotations. */
#include <stddef.h>
#include <stdint.h>

#include "boot/oci/oci_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_host host = {0};
	struct sandbox_spec spec;
	char err[512];

	spec_init(&spec);
	oci_parse_with_host((const char *)data, size, &spec, &host, err, sizeof(err));
	oci_host_free(&host);
	spec_free(&spec);
	return 0;
}
