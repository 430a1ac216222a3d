/* The guest's vDSO before its table is filled. */
	.section .rodata
	.balign	4096
	.globl	vdso_image, vdso_image_end
vdso_image:
	.incbin	"vdso.so"
vdso_image_end:
	.section .note.GNU-stack,"",@progbits
