/* ek_gpu_opencl_build.c - programs: all functions at once, each by itself where that fails, and what
 * was built in files for the next start. */
#include "ek_gpu_opencl_core.h"

#include <string.h>

/* A file: this, its own name's hash, bytes and CRC-32 of what follows, and the driver's binary. */
static const char magic[8] = {'E', 'K', 'G', 'P', 'R', 'O', 'G', '1'};
typedef struct {
    char magic[8];
    uint64_t hash;
    uint32_t nbytes, crc;
} head_t;

/* ---- sources */

static void add_source(ek_gpu_opencl_t *cl, cl_uint *count, ek_gpu_bytes_t text)
{
    if (text.nbytes != 0u) {
        cl->strings[*count] = (const char *)text.data;
        cl->lengths[*count] = text.nbytes;
        *count += 1u;
    }
}

/* Prelude and wanted functions, or just `only`; returns how many texts these are. */
static cl_uint gather(ek_gpu_opencl_t *cl, const ek_gpu_code_t *code, uint32_t only)
{
    cl_uint count = 0u;
    add_source(cl, &count, code->prelude);
    for (uint32_t i = 0; i < code->function_count; ++i) {
        if (only == i || (only == EK_GPU_ON_CPU && code->functions[i].wanted)) {
            add_source(cl, &count, code->functions[i].source);
        }
    }
    return count;
}

static uint64_t hash_of(const ek_gpu_opencl_t *cl, cl_uint count)
{
    const ek_gpu_info_t *info = &cl->device.info;
    uint64_t hash = ek_gpu_hash(0u, info->name, sizeof info->name);
    hash = ek_gpu_hash(hash, info->driver, sizeof info->driver);
    hash = ek_gpu_hash(hash, cl->options, sizeof cl->options);
    for (cl_uint i = 0; i < count; ++i) {
        hash = ek_gpu_hash(hash, &cl->lengths[i], sizeof cl->lengths[i]);
        hash = ek_gpu_hash(hash, cl->strings[i], cl->lengths[i]);
    }
    return hash;
}

/* ---- files */

static bool set_path(ek_gpu_opencl_t *cl, const char *folder, uint64_t hash)
{
    cl->path[0] = '\0';
    ek_gpu_text_add(cl->path, sizeof cl->path, folder);
    ek_gpu_text_add(cl->path, sizeof cl->path, "/gpu-program-");
    ek_gpu_text_hash(cl->path, sizeof cl->path, hash);
    return folder[0] != '\0' && ek_gpu_text_bytes_of(cl->path) + 1u < sizeof cl->path;
}

/* The program in the file, built; NULL where there is none, or none that is whole and the driver
 * takes. */
static cl_program load(ek_gpu_opencl_t *cl, uint64_t hash)
{
    const uint32_t found = ek_file_read(cl->path, cl->scratch, cl->scratch_bytes);
    head_t head;
    if (found <= sizeof head) {
        return NULL;
    }
    memcpy(&head, cl->scratch, sizeof head);
    const unsigned char *binary = cl->scratch + sizeof head;
    if (memcmp(head.magic, magic, sizeof magic) != 0 || head.hash != hash ||
        head.nbytes != found - sizeof head || head.crc != ek_gpu_crc32(binary, head.nbytes)) {
        return NULL;
    }
    const size_t length = head.nbytes;
    cl_int taken = -1, status = -1;
    cl_program program = cl->api.clCreateProgramWithBinary(cl->context, 1u, &cl->id, &length,
                                                           &binary, &taken, &status);
    if (status != CL_SUCCESS || program == NULL) {
        return NULL;
    }
    if (taken != CL_SUCCESS ||
        cl->api.clBuildProgram(program, 1u, &cl->id, cl->options, NULL, NULL) != CL_SUCCESS) {
        (void)cl->api.clReleaseProgram(program);
        return NULL;
    }
    return program;
}

/* A program that cannot be kept is built again at the next start: no error. */
static void store(ek_gpu_opencl_t *cl, cl_program program, uint64_t hash)
{
    size_t nbytes = 0u;
    unsigned char *binary = cl->scratch + sizeof(head_t);
    if (cl->scratch_bytes <= sizeof(head_t) ||
        cl->api.clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof nbytes, &nbytes, NULL) !=
            CL_SUCCESS ||
        nbytes == 0u || nbytes > cl->scratch_bytes - sizeof(head_t) ||
        cl->api.clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) !=
            CL_SUCCESS) {
        return;
    }
    head_t head = {{0}, hash, (uint32_t)nbytes, ek_gpu_crc32(binary, (uint32_t)nbytes)};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(cl->scratch, &head, sizeof head);
    (void)ek_file_write(cl->path, cl->scratch, (uint32_t)(sizeof head + nbytes));
}

/* ---- building */

/* A program of the gathered texts; not built where the compiler refuses them, which `good` says. */
static cl_program make(ek_gpu_opencl_t *cl, cl_uint count, const char *folder, bool *good)
{
    const uint64_t hash = hash_of(cl, count);
    const bool kept = set_path(cl, folder, hash);
    cl_program program = kept ? load(cl, hash) : NULL;
    cl_int status = -1;
    *good = program != NULL;
    if (program != NULL) {
        return program;
    }
    program = cl->api.clCreateProgramWithSource(cl->context, count, cl->strings, cl->lengths,
                                                &status);
    if (status != CL_SUCCESS || program == NULL) {
        return NULL;
    }
    cl->builds += 1u;
    *good = cl->api.clBuildProgram(program, 1u, &cl->id, cl->options, NULL, NULL) == CL_SUCCESS;
    if (*good && kept) {
        store(cl, program, hash);
    }
    return program;
}

static cl_kernel kernel_of(ek_gpu_opencl_t *cl, cl_program program, ek_gpu_bytes_t name)
{
    char text[EK_GPU_NAME + 1u];
    cl_int status = -1;
    memcpy(text, name.data, name.nbytes);
    text[name.nbytes] = '\0';
    cl_kernel kernel = cl->api.clCreateKernel(program, text, &status);
    return status == CL_SUCCESS ? kernel : NULL;
}

/* Every wanted function of the whole; false where one is missing. */
static bool all_of_whole(ek_gpu_opencl_t *cl, const ek_gpu_code_t *code)
{
    for (uint32_t i = 0; i < code->function_count; ++i) {
        if (code->functions[i].wanted) {
            cl->kernels[i] = kernel_of(cl, cl->whole, code->functions[i].name);
            if (cl->kernels[i] == NULL) {
                return false;
            }
        }
    }
    return true;
}

ek_gpu_result_t ek_cl_build(void *self, const ek_gpu_code_t *code)
{
    ek_gpu_opencl_t *cl = self;
    bool good = false;
    if (cl->gone || code->function_count > cl->function_count) {
        return cl->gone ? EK_GPU_GONE : EK_GPU_REFUSED;
    }
    ek_cl_release_programs(cl);
    cl->whole = make(cl, gather(cl, code, EK_GPU_ON_CPU), code->folder, &good);
    if (good && all_of_whole(cl, code)) {
        return EK_GPU_OK;
    }
    ek_cl_release_programs(cl);
    for (uint32_t i = 0; i < code->function_count; ++i) {
        if (code->functions[i].wanted) {
            cl->programs[i] = make(cl, gather(cl, code, i), code->folder, &good);
            if (good) {
                cl->kernels[i] = kernel_of(cl, cl->programs[i], code->functions[i].name);
            }
        }
    }
    return EK_GPU_OK;
}

bool ek_cl_built(void *self, uint32_t function, const char **said)
{
    ek_gpu_opencl_t *cl = self;
    size_t nbytes = 0u;
    cl->said[0] = '\0';
    *said = cl->said;
    if (cl->kernels[function] != NULL) {
        return true;
    }
    cl_program program = cl->programs[function];
    if (program != NULL && !cl->gone &&
        cl->api.clGetProgramBuildInfo(program, cl->id, CL_PROGRAM_BUILD_LOG, 0u, NULL, &nbytes) ==
            CL_SUCCESS &&
        nbytes != 0u && nbytes <= cl->scratch_bytes &&
        cl->api.clGetProgramBuildInfo(program, cl->id, CL_PROGRAM_BUILD_LOG, nbytes, cl->scratch,
                                      NULL) == CL_SUCCESS) {
        const ek_gpu_bytes_t log = {cl->scratch, (uint32_t)nbytes - 1u};
        ek_gpu_text_bytes(cl->said, sizeof cl->said, log);
        for (char *c = cl->said; *c != '\0'; ++c) {
            *c = *c == '\n' || *c == '\r' ? ' ' : *c;
        }
    }
    return false;
}

void ek_cl_release_programs(ek_gpu_opencl_t *cl)
{
    for (uint32_t i = 0; i < cl->function_count; ++i) {
        if (cl->kernels[i] != NULL) {
            (void)cl->api.clReleaseKernel(cl->kernels[i]);
            cl->kernels[i] = NULL;
        }
        if (cl->programs[i] != NULL) {
            (void)cl->api.clReleaseProgram(cl->programs[i]);
            cl->programs[i] = NULL;
        }
    }
    if (cl->whole != NULL) {
        (void)cl->api.clReleaseProgram(cl->whole);
        cl->whole = NULL;
    }
}
