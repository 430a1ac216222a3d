#include "sentry/fs/fs.h"

#include <stddef.h>

#pragma weak tmpfs_init
#pragma weak hostfs_init
#pragma weak overlay_init
#pragma weak proc_init
#pragma weak sysfs_init
#pragma weak devtmpfs_init
#pragma weak devpts_init
#pragma weak mqueue_init
#pragma weak cgroupfs_init
#pragma weak pipe_init

void fs_register_all(void)
{
	void (*const inits[])(void) = {
		tmpfs_init,    hostfs_init, overlay_init, proc_init,	 sysfs_init,
		devtmpfs_init, devpts_init, mqueue_init,  cgroupfs_init, pipe_init,
	};

	for (size_t i = 0; i < sizeof(inits) / sizeof(inits[0]); i++)
		if (inits[i])
			inits[i]();
}
