"""The colours of spectrograms: matplotlib's own tables, kept here so that no picture waits for matplotlib."""

from __future__ import annotations

from base64 import b85decode
from functools import cache
from typing import Final

import numpy as np

LEVELS: Final = 128  # at 80 dB, 0.6 dB a step: finer than an eye tells apart, and a tenth smaller than 256

# 128 evenly spaced colours of each of matplotlib's maps (public domain, CC0), three bytes a colour; base 85.
_TABLES: Final = {
    "viridis": (
        "L;+Mp16M@`T1E+6Mhss^4`N3WWk(ffM;K~I8f-`%Z%80<NFsAbC3Qz9cSkCDM=X0rFMLKZenm8YMK*y%If6qwgF-"
        "!oLO_K<LWV#@hd)P%K1qo^ONl&9iaSt>I#P={REs!Pi#J$|Hd>4|T#PhcjWb}4GGdJ}WQ{RqjWB49FKUf0Y>q8%jx2DFEOL%3bdD-"
        "^jwyJKD0+@4dyXf4jwXMOCV`G6gN-DGjU$JRBZ-Y7ij5(RjUkSVAd!q8lZzjfiyoJX9+`?Bnu#8qi5{Ma9-"
        "xOGqJ|)(g(0SeBBz8Sse&b|fhVniDX)Jkv3)MGd@!_nGq!m)xOX|Zc0IdvK)rHAzHmptZcD;!Ps3?b#b;N>Wn0K%V98))%Ux;ATW!u*a"
        "?e$F&{BNTPl3}+hSW)m)kcukLzUM*n%F#_**K-zHLBY(uiP%R-7C7@C%@k$#or;y;2zK69Ms_&+Ts}B;~3=Q80q90?&TZv<sSIvA^qnh"
    ),
    "magma": (
        "0009300sd82?7EQ0|OBR1QiAa83+a)3I`$#2__B-Di91W5)CsI4mcMNJQ@%|91uny5lbQwP$dynC=ppJ5neA4VlohCH4kbz4{kgUaX=4"
        "qLl1RF4|hrsc})>|P!fAn6MR<`eOeWMT^D{}7=L3Ke`XqhX&iuT9e{5hfpZ^$b|HazB7uA(fqx`{f+c~4CV`14fs84Dk1BwYD}a?OfSE"
        "0SoGyQ#FMgviex@;fsWN=5GkdT!d$ToqxHovaICs7|cEUP!#XNM#J#x!Fan3++(L!$2Lv7bZYuZO?-"
        "AQQROJ?FtW#v#~=Tc(oRbcE`U+!C8?_OQ;VO;ZNT=ZyL^=w=Aa9j6tT=;if`FmaZe_r~6U;Bn&`-"
        ")=xj${0iW&M?B{h4X~oooG}ZvCWi{-|^Qtabjcc>c3{{<nSpyMX?_gZ{#X{>F*^$&LNZkp0n<{nVHJ*qZ&^o&DdT{Nttk=BWJYto-"
        "h<{PDB=^|$-^yZijV"
    ),
    "inferno": (
        "0009300sd82?7BQ0|F8R0~Q7Z8wds;3I`(%2q+H;EfNYc6bm*N3p*MMKphN4APh<*3r;5sQY#8pE(%&Q30*Y_U^xk5JPBn$31&kIXhsT"
        "YN(*XD3~NvgY*P+xR}XDk5p7)(ZeSB`V-#*?6>e%5ZfzKDa2alM8f|tPZF(GSeI0CoA8UgkYlb0ei6Uu@BWaK%Xp<#pmL_JIC}f-"
        "|W1uQxqbp&iEMKWEUaT)%uQ6M)GFi1VSGYA+y*E?8IZ?tpPsKe=$UaNUKuOI)N6<w?(nmtoNkG?2KH5$@+)z2*Q#asNG~-"
        "w@<y$c3UM=WhE9zt@>}MwJY9sG$A@Fb>@^l>YcNz407WIA<_JI-ig%0?L4Ec-"
        "+`H%?ulLq>i2K$=^`<@5;q6qt@3;U`L`>qoEu@?Ka8vD5(`n@Ci!6^B~EcnSW_{}%>(LDCmLiO25^xRML;8ybFUGeB-"
        "@#}2y?sW0;ee(2$^!JVS`jz?oo&5f!"
    ),
    "plasma": (
        "3<ri228kF3iya1yAq9^m1(7KQlPv_4F$9)01eiDknL7iTKLeaX1D!<!o=F0qOah@#0-"
        "{m@qgDZ<SplS60Ht35reXl5WdNsW0H<sKsBZwMasa4x0H}BYsCxpaegmh01gC@rriKTmi3p{P3Z#z>qmmDzl@Xzr6QG(Eo}Cz-pBkH@9"
        "Gavan5Q9^sUwxFC6lfvk+3R{vMi3ZE{wM@in%k0yETTrH-x`Ag26n1!#;n-"
        "Kz+wTd&xz4%t&_5N_EgpbJ0(6(@}5LQ*GB)Y}i<8+FEGbU1r^1W#3_A;ACOqW?<uJUgc|C=51Q&a9QbcSL$?C>~~b{c~b6tQ15<D@PSS"
        "8giG^=N%V<F^@~RKjzsp6LidwF_?AEUnLYZPJNlnG`=U7eq&EDgHT<eG{H-"
        "zlurU3zF8#JG{kbdsyej>`DgDDJ{l+Hz$tL{FCHv4M`_m-))+G7aB>3GV_uwS<<R$gzCiLni^X?|{@h0%~CGYql"
    ),
}


@cache
def palette(name: str) -> bytes:
    """Return the ``LEVELS`` colours of a map, from the faintest to the loudest: red, green, blue, a byte each.

    Raises
    ------
    KeyError
        If there is no such map; :data:`search_api.listening.wishes.COLORMAPS` lists them.
    """
    if name in ("gray", "gray_r"):
        ramp = np.linspace(0, 255, LEVELS).astype(np.uint8)
        return np.repeat(ramp if name == "gray" else ramp[::-1], 3).tobytes()
    return b85decode(_TABLES[name])
