/* config.json of an attacker's choice: no crash, no leak; what is accepted is complete. */
#include <stdlib.h>

#include "boot/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sandbox_spec spec;
	char err[256] = "";

	spec_init(&spec);
	if (oci_parse((const char *)data, size, &spec, err, sizeof(err))) {
		if (!err[0])
			abort();
	} else if (!spec.argv || !spec.argv[0] || !spec.envp || !spec.cwd || !spec.nmounts ||
		   !spec.mounts[0].overlay) {
		abort();
	}
	spec_free(&spec);
	return 0;
}
