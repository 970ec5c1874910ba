#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "stages.h"
static float values[100]; static char set[100]; static int ready;
float tune(int i, float value)
{
    if (!ready) {
        const char *s = getenv("TUNE");
        while (s && *s) { int k; float v; if (sscanf(s, "%d=%f", &k, &v) == 2) { set[k] = 1; values[k] = v; } s = strchr(s, ','); if (s) s++; }
        ready = 1;
    }
    return set[i] ? values[i] : value;
}

void tune_dump(const struct work *w){ const char*p=getenv("FEAT"); if(!p) return; static FILE*f; if(!f) f=fopen(p,"wb");
 int h[4]={w->width,w->height,w->candidate_count,w->cells}; fwrite(h,4,4,f); fwrite(w->mask,1,w->cells,f);
 for(int i=0;i<w->candidate_count;i++){const struct candidate*c=&w->candidates[i]; float v[5]={c->x,c->y,c->dx,c->dy,c->type}; fwrite(v,4,5,f); fwrite(c->feature,4,16,f);} fflush(f);}
