"""Find an index's text, attribute, price and vector fields in its mapping. Pure: no client.

Every field is named by its path in `_source`: a text field `brand` with a sub-field
`brand.keyword` is reported as `brand`. Read its value from the hit; ask the engine for it with
`fields` (not `docvalue_fields`, which a text field refuses).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_rerank.cluster.verdict import Verdict, merge_verdicts, read_verdict

MAX_TEXT_FIELDS = 3
MAX_ATTRIBUTE_FIELDS = 6
NAMESPACE = "es_rerank"

TEXT_TYPES = frozenset({"text", "match_only_text"})
KEYWORD_TYPES = frozenset({"keyword", "constant_keyword"})
NUMERIC_TYPES = frozenset(
    {"byte", "double", "float", "half_float", "integer", "long", "scaled_float", "short"}
    | {"unsigned_long"}
)
VECTOR_TYPES = frozenset({"dense_vector", "knn_vector"})
OPEN_TYPES = frozenset({"flattened", "flat_object"})

# Each line is one role, best name first. Names are compared folded: lower case, no accents.
TEXT_ROLES = (
    "title product_title name product_name item_name headline heading label"
    " titel produktname titre titulo titolo nombre nom nome naam navn namn nazwa tytul nazev baslik"
    " заголовок название наименование"
    " 标题 標題 商品标题 产品标题 商品名称 产品名称 名称 名稱 商品名 品名 タイトル 名前 製品名"
    " 제목 상품명 이름 عنوان اسم",
    "summary short_description short_desc subtitle tagline abstract bullets bullet_points"
    " bullet_point bullet highlights features key_features"
    " kurzbeschreibung zusammenfassung resume resumen riassunto samenvatting"
    " 摘要 简介 簡介 卖点 概要 特徴 요약",
    "description product_description long_description desc body content text details overview"
    " beschreibung produktbeschreibung descripcion descrizione descricao omschrijving beskrivning"
    " beskrivelse opis popis aciklama описание"
    " 描述 商品描述 产品描述 详情 商品详情 說明 説明 商品説明 製品説明 内容 설명 상품설명 وصف",
)
ATTRIBUTE_ROLES = (
    "brand brand_name manufacturer maker make label"
    " marke hersteller marque fabricant marca fabricante merk fabrikant marka"
    " бренд производитель 品牌 ブランド メーカー 브랜드 제조사 علامة",
    "product_type type derived_type kind item_type art typ produkttyp tipo тип"
    " 类型 類型 商品类型 種類 유형 نوع",
    "category categories category_name product_category main_category department product_group"
    " kategorie abteilung categorie categoria kategori kategoria категория"
    " 类别 类目 分类 類別 分類 カテゴリ カテゴリー 카테고리 فئة",
    "seller vendor merchant store shop supplier seller_name vendor_name"
    " verkaufer handler vendeur vendedor venditore verkoper продавец 卖家 店铺 商家 販売者 판매자",
    "family product_family series product_line line collection range model_family"
    " serie reihe familie kollektion gamme coleccion collezione серия"
    " 系列 シリーズ 시리즈",
    "colour color product_colour product_color colours colors"
    " farbe couleur colore cor kleur farve farg kolor barva renk цвет 颜色 顏色 色 カラー 색상 لون",
    "material gender style genre author artist flavor flavour season occasion pattern fabric"
    " geschlecht matiere genero 材质 材質 性别 素材 소재 성별",
)
PRICE_NAMES = (
    "price current_price sale_price selling_price final_price list_price unit_price retail_price"
    " preis prix precio prezzo preco prijs pris cena fiyat цена 价格 價格 售价 価格 가격 سعر"
)
# A field with one of these words in its name is neither text to read nor an attribute.
UNWANTED_NAMES = (
    "id ids uuid guid sku asin ean gtin upc isbn mpn code codes"
    " url urls uri link links href slug path image images img picture photo thumbnail video file"
    " review reviews comment comments rating ratings feedback question questions answer answers"
    " qa faq user username email phone password token hash date time timestamp created updated"
    " modified status lang language locale currency suggest autocomplete ngram search sort"
    " embedding vector meta seo keywords tags"
    " bewertung bewertungen kommentar avis commentaire resena opinion отзыв отзывы"
)
# Scripts without spaces: these are looked for anywhere in the name.
UNWANTED_PARTS = (
    "评论 評論 评价 評価 评分 レビュー 리뷰 链接 網址 网址 图片 圖片 画像 编号 編號 条码"
)
LANGUAGE = re.compile(
    r"(ar|bg|bn|ca|cjk|cn|cs|da|de|el|en|es|et|fa|fi|fr|ga|gl|he|hi|hr|hu|hy|id|it|ja|jp|ko|kr|lt"
    r"|lv|ms|nb|nl|no|pl|pt|ro|ru|sk|sl|sr|sv|th|tr|tw|uk|us|vi|zh|arabic|chinese|english|french"
    r"|german|italian|japanese|korean|portuguese|russian|spanish)"
    r"(_(us|gb|uk|ca|au|de|at|ch|fr|be|es|mx|ar|it|br|pt|cn|tw|hk|jp|kr|in|hans|hant))?"
)


@dataclass(frozen=True)
class IndexFields:
    """What one index offers, each field by its path in `_source`; None where there is none.

    model, recipe: what made the vectors, and of which text. named: which of text, attributes and
    price `_meta.es_rerank` names; the others were found by well-known names. verdict: whether
    reranking helps here, where that was measured.
    """

    text: tuple[str, ...]
    attributes: tuple[str, ...]
    price: str | None
    vector: str | None
    code: str | None
    model: str | None
    recipe: str | None = None
    named: tuple[str, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True)
class _Field:
    path: str
    type: str
    keyword: bool  # a keyword itself, or a text field with a keyword sub-field
    name: str  # folded name, without language
    words: frozenset[str]  # words of the whole path, folded


def find_fields(mappings: Mapping[str, Any]) -> IndexFields:
    """Find the fields in one index's `mappings` object, as `GET /index/_mapping` gives it.

    What `_meta.es_rerank` names wins; what it leaves out is found by well-known names, in the
    order in which they tell most about a product. Never raises on a mapping it does not know.
    """
    fields = list(_walk(mappings.get("properties"), ""))
    meta = _meta(mappings)
    texts = _strings(meta.get("text_fields"))
    attributes = _strings(meta.get("attribute_fields"))
    price = meta.get("price_field")
    model = meta.get("model")
    named = {
        "text": texts is not None,
        "attributes": attributes is not None,
        "price": "price_field" in meta,
    }
    own = {field.path: field.type for field in fields if field.path.startswith(f"{NAMESPACE}.")}
    found = [field for field in fields if field.path not in own]
    return IndexFields(
        text=_find_text(found) if texts is None else texts,
        attributes=_find_attributes(found) if attributes is None else attributes,
        price=price if isinstance(price, str) or "price_field" in meta else _find_price(found),
        vector=_own(own, "vector", VECTOR_TYPES),
        code=_own(own, "code", {"binary"}),
        model=model if isinstance(model, str) else None,
        recipe=_recipe(meta),
        named=tuple(role for role, given in named.items() if given),
        verdict=read_verdict(meta),
    )


def has_field(mappings: Mapping[str, Any], path: str) -> bool:
    """Whether the mapping has a field at `path`, by its path in `_source`."""
    return any(field.path == path for field in _walk(mappings.get("properties"), ""))


def list_paths(mappings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the path of each field and object; `path.*` too for objects whose members may be
    anything, since they are not mapped one by one."""
    properties = mappings.get("properties")
    for name, spec in properties.items() if isinstance(properties, Mapping) else ():
        if isinstance(name, str) and isinstance(spec, Mapping):
            yield f"{prefix}{name}"
            if spec.get("type") in OPEN_TYPES or spec.get("enabled") in (False, "false"):
                yield f"{prefix}{name}.*"
            yield from list_paths(spec, f"{prefix}{name}.")


def merge_fields(found: Sequence[IndexFields]) -> IndexFields:
    """Merge the fields of several indices: the union in order; of single fields, the first.

    The model is kept only where all indices that name one agree: vectors of different models
    do not compare. So are the recipe and the verdict. A role counts as named where all indices
    name it.
    """
    models = {fields.model for fields in found if fields.model is not None}
    recipes = {fields.recipe for fields in found if fields.recipe is not None}
    return IndexFields(
        text=_union(fields.text for fields in found),
        attributes=_union(fields.attributes for fields in found),
        price=_first(fields.price for fields in found),
        vector=_first(fields.vector for fields in found),
        code=_first(fields.code for fields in found),
        model=models.pop() if len(models) == 1 else None,
        recipe=recipes.pop() if len(recipes) == 1 else None,
        named=tuple(
            role
            for role in (found[0].named if found else ())
            if all(role in fields.named for fields in found)
        ),
        verdict=merge_verdicts([fields.verdict for fields in found]),
    )


def _walk(properties: Any, prefix: str) -> Iterator[_Field]:
    if not isinstance(properties, Mapping):
        return
    for name, spec in properties.items():
        if not isinstance(name, str) or not isinstance(spec, Mapping):
            continue
        path = f"{prefix}{name}"
        kind = spec.get("type")
        if isinstance(spec.get("properties"), Mapping):
            if spec.get("enabled") not in (False, "false"):
                yield from _walk(spec["properties"], f"{path}.")
        elif isinstance(kind, str):
            yield _field(path, kind, spec.get("fields"))


def _field(path: str, kind: str, sub_fields: Any) -> _Field:
    subs = sub_fields.values() if isinstance(sub_fields, Mapping) else ()
    keyword = kind in KEYWORD_TYPES or (
        kind in TEXT_TYPES
        and any(isinstance(sub, Mapping) and sub.get("type") in KEYWORD_TYPES for sub in subs)
    )
    parts = [_fold(part) for part in path.split(".")]
    name = parts[-1]
    if len(parts) > 1 and LANGUAGE.fullmatch(name):  # title.en: the parent names the field
        name = parts[-2]
    elif (head := name.rpartition("_"))[0]:  # title_en, title_pt_br
        wider = head[0].rpartition("_")
        if wider[0] and LANGUAGE.fullmatch(f"{wider[2]}_{head[2]}"):
            name = wider[0]
        elif LANGUAGE.fullmatch(head[2]) and head[2] != "id":
            name = head[0]
    words = frozenset(word for part in parts for word in part.split("_"))
    return _Field(path, kind, keyword, name, words)


def _fold(name: str) -> str:
    """Lower case, snake_case for camelCase and dashes, accents off."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    name = re.sub(r"[\s\-@#]+", "_", name.lower())
    folded = unicodedata.normalize("NFKD", name)
    return "".join(char for char in folded if not unicodedata.combining(char)).strip("_")


def _ranks(roles: Iterable[str]) -> dict[str, tuple[int, int]]:
    ranks: dict[str, tuple[int, int]] = {}
    for role, names in enumerate(roles):
        for place, name in enumerate(names.split()):
            ranks.setdefault(_fold(name), (role, place))
    return ranks


TEXT_RANKS = _ranks(TEXT_ROLES)
ATTRIBUTE_RANKS = _ranks(ATTRIBUTE_ROLES)
PRICE_RANKS = _ranks([PRICE_NAMES])
UNWANTED_WORDS = frozenset(map(_fold, UNWANTED_NAMES.split()))
FOLDED_UNWANTED_PARTS = tuple(map(_fold, UNWANTED_PARTS.split()))


def _is_unwanted(field: _Field) -> bool:
    return bool(field.words & UNWANTED_WORDS) or any(
        part in word for word in field.words for part in FOLDED_UNWANTED_PARTS
    )


def _find_text(fields: list[_Field]) -> tuple[str, ...]:
    candidates = [f for f in fields if f.type in TEXT_TYPES and not _is_unwanted(f)]
    known = _choose(candidates, TEXT_RANKS, MAX_TEXT_FIELDS)
    if known:
        return known
    rest = [f for f in candidates if f.name not in ATTRIBUTE_RANKS]
    return tuple(f.path for f in rest[:MAX_TEXT_FIELDS])


def _find_attributes(fields: list[_Field]) -> tuple[str, ...]:
    candidates = [f for f in fields if f.keyword and not _is_unwanted(f)]
    return _choose(candidates, ATTRIBUTE_RANKS, MAX_ATTRIBUTE_FIELDS)


def _choose(
    fields: list[_Field], ranks: Mapping[str, tuple[int, int]], at_most: int
) -> tuple[str, ...]:
    """Take the best field of each role first, then fill up; answer in the order of the roles."""
    ranked = sorted(
        (ranks[f.name], f.path.count("."), place, f.path)
        for place, f in enumerate(fields)
        if f.name in ranks
    )
    seen: set[int] = set()
    firsts: list[tuple[tuple[int, int], int, int, str]] = []
    others: list[tuple[tuple[int, int], int, int, str]] = []
    for item in ranked:
        (others if item[0][0] in seen else firsts).append(item)
        seen.add(item[0][0])
    chosen = (firsts + others)[:at_most]
    return tuple(path for *_, path in sorted(chosen))


def _find_price(fields: list[_Field]) -> str | None:
    best: tuple[int, int, int, str] | None = None
    for place, field in enumerate(fields):
        if field.type not in NUMERIC_TYPES:
            continue
        if field.name in PRICE_RANKS:
            rank = PRICE_RANKS[field.name][1]
        elif field.name.startswith("price_"):  # price_usd; price_range and the like come last
            rank = len(PRICE_RANKS)
        elif field.name.endswith("_price"):
            rank = len(PRICE_RANKS) + 1
        else:
            continue
        candidate = (rank, field.path.count("."), place, field.path)
        best = candidate if best is None or candidate < best else best
    return best[-1] if best else None


def _meta(mappings: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = mappings.get("_meta")
    own = meta.get(NAMESPACE) if isinstance(meta, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _recipe(meta: Mapping[str, Any]) -> str | None:
    """How the text was made that the vectors are of, as `reindex` wrote it down."""
    recipe = meta.get("recipe", meta.get("template"))
    return recipe if isinstance(recipe, str) or recipe is None else json.dumps(recipe)


def _strings(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    return tuple(item for item in value if isinstance(item, str))


def _own(own: Mapping[str, str], name: str, types: Container[str | None]) -> str | None:
    path = f"{NAMESPACE}.{name}"
    return path if own.get(path) in types else None


def _union(tuples: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for paths in tuples for path in paths))


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)
