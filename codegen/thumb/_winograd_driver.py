"""The C that walks over tiles, which all layers share: what differs is in a table per layer."""

from __future__ import annotations

import hashlib

TABLE = """\
typedef struct {
    int32_t h, w, c, oh, ow, n, top, left, strip, step, zx, zy, u, align;
    void (*columns)(const int32_t *t, int32_t *v, int32_t groups, int32_t next);
    void (*products)(const int32_t *v, const int32_t *u, const int32_t *rq, int8_t *out,
                     const int8_t *end, int32_t pixels, int32_t row, int32_t zero);
} ek_wino2_t;
"""
BUILD = """\
        const int32_t count = ek_min(p->step, p->n - n);
        for (int32_t i = 0; i < count / 2; ++i) {
            @weights@((const int8_t *)w + (n / 2 + i) * 18 * p->c, u + i * 16 * p->c, 4 * p->c,
                      p->c / 2);
        }
"""
RUN = """\
EK_DRIVER void @name@(const ek_wino2_t *p, const int8_t *x, const void *w, const int32_t *rq,
                      int8_t *y, int32_t *t)
{
    const int32_t groups = p->c / 4, width = p->strip + 2;
    int32_t *const v = t + 8 * groups * width;
    const uint32_t twice = (uint32_t)(2 * p->zx);
    const int32_t border = (int32_t)(twice << 16 | (twice & 0xffffu));
@u@\
    for (int32_t n = 0; n < p->n; n += p->step) {
@build@\
        for (int32_t oh = 0; oh < p->oh; oh += 2) {
            for (int32_t ow = 0; ow < p->ow; ow += p->strip) {
                /* Columns first .. first + width - 1 of the input, lo .. hi - 1 of them exist. */
                const int32_t start = ek_min(ow, p->ow - p->strip), first = start - p->left;
                const int32_t lo = ek_max(-first, 0), hi = ek_min(p->w - first, width);
                const int8_t *row[4];
                for (int32_t k = 0; k < 4; ++k) {
                    const int32_t ih = oh + k - p->top;
                    if (ih >= 0 && ih < p->h) {
                        row[k] = x + (ih * p->w + first + lo) * p->c;
                    } else {
                        row[k] = (const int8_t *)v;
                        memset(v, p->zx, (size_t)((hi - lo) * p->c));
                    }
                }
                @rows@(row[0], row[1], row[2], row[3], t + 8 * lo, hi - lo, groups, 32 * width);
                for (int32_t i = 0; i < width; ++i) {
                    for (int32_t g = i; (i < lo || i >= hi) && g < groups * width; g += width) {
                        int32_t *const at = t + 8 * g;
                        at[0] = at[1] = at[3] = at[4] = at[5] = at[7] = 0;
                        at[2] = at[6] = border;
                    }
                }
                for (int32_t i = 0; i < p->strip; i += 4) {
                    const int32_t at = ek_min(i, p->strip - 4);
                    int8_t *const to = y + (oh * p->ow + start + at + 1) * p->n + n;
                    p->columns(t + 8 * at, v, groups, 32 * width - 16);
                    p->products(v, u, rq + 3 * n, to, to + @count@, 2 * p->n,
                                oh + 1 < p->oh ? p->ow * p->n : 0, p->zy);
                }
            }
        }
    }
}
"""


RUN4 = """\
EK_DRIVER void @name@(const ek_wino4_t *p, const int8_t *x, const int32_t *u, const int32_t *rq,
                      int8_t *y, int32_t *t)
{
    const int32_t groups = p->c / 4, left = p->left, width = p->ow + 2, pitch = 48 * width;
    const int32_t right = ek_min(left + p->w, width);
    int32_t *const v = t + 12 * groups * width;
    const uint32_t u_of_zero = (uint32_t)(p->zx + 128);
    for (int32_t i = 0; i < width; ++i) {
        for (int32_t g = i; (i < left || i >= right) && g < groups * width; g += width) {
            memset(t + 12 * g, 0, 48u);
            t[12 * g + 1] = t[12 * g + 7] = (int32_t)(0u - 6u * 65537u * u_of_zero);
        }
    }
    for (int32_t i = 0; i < p->oh; i += 4) {
        const int32_t oh = ek_min(i, p->oh - 4);
        const int8_t *row[6];
        for (int32_t k = 0; k < 6; ++k) {
            const int32_t ih = oh + k - p->top;
            if (ih >= 0 && ih < p->h) {
                row[k] = x + ih * p->w * p->c;
            } else {
                row[k] = (const int8_t *)v;
                memset(v, p->zx, (size_t)(p->w * p->c));
            }
        }
        @rows@(row[0], row[1], row[2], row[3], row[4], row[5], t + 12 * left, right - left,
               p->c, pitch);
        for (int32_t j = 0; j < p->ow; j += 8) {
            const int32_t ow = ek_min(j, p->ow - 8);
            int8_t *const to = y + (oh * p->ow + ow + 3) * p->n;
            p->columns(t + 12 * ow, v, groups, pitch - 24);
            p->products(v, u, rq, to, to + p->n, 4 * p->n, p->ow * p->n, p->zy);
        }
    }
}
"""
TABLE4 = """\
typedef struct {
    int32_t h, w, c, oh, ow, n, top, left, zx, zy;
    void (*columns)(const int32_t *t, int32_t *v, int32_t groups, int32_t next);
    void (*products)(const int32_t *v, const int32_t *u, const int32_t *rq, int8_t *out,
                     const int8_t *end, int32_t pixels, int32_t row, int32_t zero);
} ek_wino4_t;
"""


def driver_4x4(rows: str) -> dict[str, str]:
    """As `driver`, for tiles of 4x4 outputs; the last rows and columns are computed again."""
    text = RUN4.replace("@rows@", rows)
    name = f"ek_wino4_run_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return {"ek_wino4_t": TABLE4, name: text.replace("@name@", name)}


def driver(rows: str, weights: str) -> dict[str, str]:
    """C functions by name, the last the one that runs a layer.

    Args:
        rows: name of the routine that transforms rows.
        weights: name of the one that transforms weights, "" where they are constants.
    """
    if weights:
        u = (
            "    int32_t *u = t + p->u;\n"
            "    u += (-(uintptr_t)u & (uintptr_t)(p->align - 1)) / 4u;\n"
        )
    else:
        u = "    const int32_t *const u = (const int32_t *)w;\n"
    text = RUN.replace("@u@", u).replace("@build@", BUILD if weights else "")
    text = text.replace("@count@", "count" if weights else "p->n")
    text = text.replace("@rows@", rows).replace("@weights@", weights)
    name = f"ek_wino2_run_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return {"ek_wino2_t": TABLE, name: text.replace("@name@", name)}
