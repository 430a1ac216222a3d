/* config.json of an attacker's choice: no crash, no leak; what is accepted is complete. */
#include <stdlib.h>

#include "boot/oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sandbox_spec spec;
	char err[256] = "";

	spec_init(&spec);
	if (oci_parse((const char *)data, size, &spec, err, sizeof(err))) {
		if (!err[0])
			abort();
	} else if (!spec.container.process.argv || !spec.container.process.argv[0] ||
		   !spec.container.process.envp || !spec.container.process.cwd ||
		   !spec.container.nmounts || !spec.container.mounts[0].overlay) {
		abort();
	}
	spec_free(&spec);
	return 0;
}
