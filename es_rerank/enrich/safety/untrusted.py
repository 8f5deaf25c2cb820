"""Texts of products and reviews are written by anybody: find orders in them, take their teeth out.

A model that reads “ignore previous instructions” in a description may obey it (Greshake et al.,
AISec 2023). Sentences that give orders are left out of what a model is shown; the rest loses what
could pass for a part of the prompt: tags, roles, a chat template's tokens, links, invisible
characters. What a model writes all the same is checked afterwards.
"""

from __future__ import annotations

import html
import re
import unicodedata

# Zero width, direction marks, soft hyphens, variation selectors, tags (U+E0000), and controls.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
TEMPLATE = re.compile(
    r"<\|[^<>|]{0,40}\|>(?:\s*(?:system|assistant|user)\b\s*[:：]?)?|<｜[^<>｜]{0,40}｜>|\[/?INST\]|<</?SYS>>|</?s>"
    r"|<(?:start|end)_of_turn>|\[(?:system|assistant|user)\]"
    r"|#{2,}\s*(?:system|assistant|user|instructions?|response)\b:?"
    r"|(?:^|(?<=[\n.!?。！？]))\s*(?:system|assistant|human|ai|系统|助手)\s*[:：]",
    re.I,
)
MARKDOWN = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,500}\)")
# Names such as StarTech.com are brands; an address has a path, or somebody is told to go there.
DOMAIN = (
    r"(?<![@\w.-])(?:[a-z0-9-]+\.)+(?-i:com|COM|net|NET|org|ORG|io|cn|ru|de|uk|biz|xyz|info|shop|top"
    r"|app|dev)(?![\w@])"
)
BARE_DOMAIN = re.compile(DOMAIN, re.I)
URL = re.compile(
    r"\b(?:https?|ftp)\s*:\s*/{1,2}[^\s<>\"'，。]+|\bwww\.[^\s<>\"'，。]+"
    r"|\b(?:javascript:|file:/|data:[\w/+.-]*[;,])[^\s<>\"'，。]*"
    r"|(?<![@\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,10}/[^\s<>\"'，。]*[a-z][^\s<>\"'，。]*"
    r"|\b(?:visit|see|at|goto|go to|click|browse|open)\b[\s:]*"
    + DOMAIN
    + r"|(?:访问|登录|网址|官网|点击|上)[:：\s]*"
    + DOMAIN,
    re.I,
)
URL_HINTS = (
    *("http", "ftp", "data:", "javascript", "file:", "www.", ".com", ".net", ".org", ".io", ".cn"),
    *(".ru", ".de", ".uk", ".biz", ".xyz", ".info", ".shop", ".top", ".app", ".dev", "/"),
)
ORDER_HINTS = (
    *("ignor", "disregard", "forget", "overr", "bypass", "skip", "discard", "drop", "act as"),
    *("pretend", "behave as", "play as", "you are", "from now on", "as a", "instruction", "prompt"),
    *("system", "developer", "jail", "end of", "reveal", "print", "repeat", "leak", "tell me"),
    *("api", "password", "secret", "write", "output", "respond", "reply", "answer", "say", "state"),
    *("mention", "claim", "summari", "describe", "insert", "append", "include", "recommend"),
    *("translate", "llm", " ai ", "ai:", "chat", "gpt", "model", "note to", "message"),
    *(
        "attention",
        "忽略",
        "无视",
        "忘",
        "不要理会",
        "不理会",
        "跳过",
        "绕过",
        "覆盖",
        "违反",
        "你",
    ),
    *(
        "扮演",
        "假装",
        "作为",
        "系统",
        "开发者",
        "输出",
        "回复",
        "回答",
        "写",
        "说出",
        "重复",
        "越狱",
        "提示词",
    ),
    *("vergiss", "missachte", "oublie", "olvida"),
)
"""Without any of these an order is not there, so that most sentences cost nothing to look at."""
PLAIN = re.compile(r"[\w ,;.'\"()/%+\-–—…!?€$£°×’“”，。！？；、（）]*")
TAG = re.compile(r"<!--.*?-->|</?[a-z!?][^<>]*>", re.I | re.S)
FENCE = re.compile(r"`{1,}|~{3,}|\*{2,}|_{3,}|={4,}|-{4,}")
# Letters of other scripts that look like Latin ones.
LOOKALIKES = str.maketrans("аеорсухіјѕԁһɡαοεκνρτυ", "aeopcyxijsdhgaoekvptu")
WHAT = (
    r"(?:instructions?|prompts?|rules?|guidelines?|directions?|commands?|messages?|orders|context"
    r"|everything|anything|text)"
)
BEFORE = (
    r"(?:(?:all|any|the|your|these|those|of|my|every)\s+)*"
    r"(?:previous|prior|above|preceding|earlier|former|foregoing|system|other|given|initial"
    r"|original|developer|safety)"
)
ORDER = re.compile(
    rf"\b(?:ignore|disregard|forget|override|overrule|bypass|skip|discard|drop)\s+{BEFORE}\b"
    rf"|\b(?:ignore|disregard|forget|override|bypass)\s+(?:\w+\s+){{0,4}}{WHAT}\b"
    r"|\b(?:you are|act as|pretend to be|behave as|role-?play as)\s+(?:now\s+)?(?:\w+\s+){0,3}"
    r"(?:ai|assistant|chat\s?bot|language model|llm|gpt|dan|developer mode|jailbroken|unrestricted)"
    r"|\byou are now\b|\bfrom now on,? you\b|\bas an? (?:ai|language model)\b"
    r"|\b(?:new|updated|real|actual|hidden|secret|important)\s+(?:system\s+)?(?:instructions?"
    r"|prompts?)\b|\bsystem\s+(?:prompt|message|instruction|override)s?\b|\bdeveloper\s+mode\b"
    r"|\bjail\s?break\b|\bprompt\s+injection\b|\bend\s+of\s+(?:data|document|input|prompt|context)\b"
    r"|\b(?:reveal|print|repeat|show|output|leak|tell me)\s+(?:\w+\s+){0,3}(?:prompt|instructions?"
    r"|rules|api[ _-]?keys?|passwords?|secrets?)\b"
    r"|\b(?:instead|only|always|just|simply|then|now|must|please|should|and)[,:]?\s+(?:you\s+)?"
    r"(?:write|output|respond|reply|answer|print|say|state|mention|claim|summari[sz]e|describe"
    r"|insert|append|include|recommend|translate)\b[^.]{0,20}(?:[:“`]|\s[\"']\w"
    r"|\bthat (?!is\b|are\b)|\bthe following\b|\bexactly\b)"
    r"|\b(?:always|now|must|only|please|should)\s+(?:respond|reply|answer|output)\b"
    r"|^(?:write|output|respond|reply|answer|print|say|repeat|append|insert)\b[^.]{0,20}(?:[:“`]"
    r"|\s[\"']\w|\bthat\b|\bwith the\b|\bthe following\b|\bexactly\b|\bonly the\b)"
    r"|\b(?:language models?|llms?|ai (?:models?|assistants?|systems?)|chat\s?bots?|gpt"
    r"|summari[sz]ers?)\s*[,:]|\b(?:note|attention|message|instructions?)\s+(?:to|for)\s+(?:the\s+)?(?:\w+\s+)?"
    r"(?:ai|assistant|model|llm|summari[sz]er|writer|bot)s?\b"
    # Chinese, German, French, Spanish.
    r"|(?:忽略|无视|忘记|忘掉|不要理会|不理会|跳过|绕过|覆盖|违反).{0,10}(?:指令|指示|提示|规则|命令|设定|要求|内容)"
    r"|(?:你现在是|从现在开始你|从现在起你|扮演|假装你是|作为一个?(?:ai|人工智能|语言模型))"
    r"|(?:系统|开发者)(?:提示|指令|消息|模式)|(?:输出|回复|回答|写出|说出|重复)(?:以下|如下|[:：“\"])"
    r"|(?:只|仅|必须|请)(?:输出|回复|回答|写)|(?:提示词|越狱)"
    r"|\b(?:ignoriere?n?|vergiss|missachte)\s+(?:\w+\s+){0,4}(?:anweisung|vorgabe|regel|befehl)"
    r"|\b(?:ignore[zr]?|oublie[zr]?)\s+(?:\w+\s+){0,4}(?:instructions?|consignes?|règles?)"
    r"|\b(?:ignora|olvida)\s+(?:\w+\s+){0,4}(?:instrucci|reglas|órdenes)",
    re.I,
)
SPACED = re.compile(r"\b(?:\w[ .\-_*]){4,}\w\b")
MAYBE_SPACED = re.compile(r"[ .\-_*]\w[ .\-_*]\w[ .\-_*]")


def neutralise(text: str) -> str:
    """A text on one line that is nothing but words: what it states stays, as far as it can.

    It holds no `<` or `>`, no link, no markup and no invisible character.
    """
    if text.isascii() and PLAIN.fullmatch(text) and not has_link(text):
        return " ".join(text.split())
    for _ in range(3):  # what is escaped twice
        text, before = html.unescape(text), text
        if text == before:
            break
    text = INVISIBLE.sub("", text)
    while (shorter := TEMPLATE.sub(" ", text)).split() != text.split():
        text = shorter  # what stands behind one may be another
    text = TAG.sub(" ", text)
    text = MARKDOWN.sub(r"\1", text)
    if has_link(text):
        text = URL.sub(" ", text)
    text = FENCE.sub(" ", text)
    text = text.replace("<", "‹").replace(">", "›")
    text = " ".join(text.split())
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


def is_instruction(text: str) -> bool:
    """Whether a text gives orders to whoever reads it by machine, plainly or in disguise."""
    seen = unmask(text)
    lowered = seen.lower()
    return any(hint in lowered for hint in ORDER_HINTS) and ORDER.search(seen) is not None


def has_link(text: str, source: str | None = None) -> bool:
    """Whether an address stands in a text; of names like addresses, one that its source lacks.

    source: None where the text is copied from it.
    """
    lowered = text.lower()
    if not any(hint in lowered for hint in URL_HINTS):
        return False
    if URL.search(text) is not None:
        return True
    return source is not None and any(
        name[0].lower() not in source.lower() for name in BARE_DOMAIN.finditer(text)
    )


def unmask(text: str) -> str:
    """A text as its reader sees it: without invisible characters and lookalike letters."""
    if text.isascii():
        seen = html.unescape(text) if "&" in text else text
    else:
        seen = unicodedata.normalize("NFKC", INVISIBLE.sub("", html.unescape(text)))
        seen = seen.lower().translate(LOOKALIKES)
    if "<" in seen:
        seen = TAG.sub(" ", seen.replace("<!--", " ").replace("-->", " "))
    if MAYBE_SPACED.search(seen) is None:
        return seen
    # i g n o r e: letters set apart.
    return SPACED.sub(lambda found: re.sub(r"[ .\-_*]", "", found[0]), seen)
